"""The gallery: the account's generations, newest first, each with its picture for as long as it is kept."""

from contextlib import suppress
from typing import Any, Final

from csp.decorators import csp_update
from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.grants import Scope
from workers.lifecycle import cancellation, deletion, history, queries, watching
from workers.lifecycle.history import Page, Position
from workers.models import Generation
from zekron_api.console import pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.gallery_filters import GalleryFilters
from zekron_api.console.playground import PICTURES_POLICY
from zekron_api.console.shown_generation import ShownGeneration

# A card takes one to three milliseconds of CPU, and the next page comes while one scrolls.
PAGE_SIZE: Final = 30
_RELATED: Final = ("image", "person", "api_key")


@require_safe
@csp_update(PICTURES_POLICY)
@member_page(Scope.READ)
def serve(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Show a page of the history. A script gets its cards alone, to put them behind those that it has."""
    form = GalleryFilters(request.GET, access=access)
    page = _find_page(access, form)
    context = {
        "form": form,
        "has_filters": bool(form.filters),
        "shown": _show(access, page.generations),
        "older": _address(request, page.next_before) if page.next_before else "",
    }
    is_part = request.headers.get("HX-Request") == "true"
    return pages.render(request, access, "gallery/cards.html" if is_part else "gallery.html", context)


@require_safe
@csp_update(PICTURES_POLICY)
@member_page(Scope.READ)
def show(request: HttpRequest, access: Access, generation_id: int) -> HttpResponseBase:
    """Show one generation with its whole picture and all that was asked for."""
    shown = _find(access, generation_id)
    group = queries.list_group(shown.row) if shown.row.group_id is not None else []
    return pages.render(request, access, "gallery/detail.html", {"each": shown, "group": group})


@require_safe
@member_page(Scope.READ)
def show_card(request: HttpRequest, access: Access, generation_id: int) -> HttpResponseBase:
    """Show the card of one generation alone. The cards of open ones ask for it again and again."""
    return _card(request, access, generation_id)


@require_http_methods(["GET", "HEAD", "POST"])
@csp_update(PICTURES_POLICY)
@member_page(Scope.DELETE)
def delete(request: HttpRequest, access: Access, generation_id: int) -> HttpResponseBase:
    """Ask whether to delete the picture and the prompt, and do it on POST."""
    shown = _find(access, generation_id)
    if request.method != "POST":
        return pages.render(request, access, "gallery/delete.html", {"each": shown})
    try:
        deletion.delete_generation(generation_id=generation_id)
    except deletion.StillOpen:
        messages.error(request, "It is still queued or being made. Cancel it first.")
        return redirect("console:gallery_item", account_id=access.account.pk, generation_id=generation_id)
    if request.headers.get("HX-Request") == "true":
        return _card(request, access, generation_id)
    messages.success(request, f"Picture {generation_id} is deleted.")
    return redirect("console:gallery", account_id=access.account.pk)


@require_POST
@member_page(Scope.GENERATE)
def cancel(request: HttpRequest, access: Access, generation_id: int) -> HttpResponseBase:
    """Cancel an open generation. One that has just ended stays as it is."""
    shown = _find(access, generation_id)
    # The card or the page that follows shows how it ended.
    with suppress(cancellation.AlreadyEnded):
        cancellation.request(generation=shown.row, detail="a person of its account cancelled it")
    if request.headers.get("HX-Request") == "true":
        return _card(request, access, generation_id)
    return redirect("console:gallery_item", account_id=access.account.pk, generation_id=generation_id)


def _find_page(access: Access, form: GalleryFilters) -> Page:
    return history.find_page(
        account_id=access.account.pk,
        # Every generation has exactly one hold, and the account counts its holds.
        total=access.account.hold_count,
        filters=form.filters,
        before=_find_position(access, form.before_id),
        limit=PAGE_SIZE,
    )


def _find_position(access: Access, before: int | None) -> Position | None:
    if before is None:
        return None
    try:
        return history.find_position(account_id=access.account.pk, generation_id=before)
    except Generation.DoesNotExist:
        raise Http404 from None


def _address(request: HttpRequest, before: int) -> str:
    """Return the address of the next page, with the same filters."""
    query = request.GET.copy()
    query["before"] = str(before)
    return f"{request.path}?{query.urlencode()}"


def _find(access: Access, generation_id: int) -> ShownGeneration:
    """Return the account's generation. Raises Http404, also for a foreign one."""
    try:
        row = watching.find(account_id=access.account.pk, generation_id=str(generation_id))
    except Generation.DoesNotExist:
        raise Http404 from None
    return ShownGeneration(row, access, timezone.now())


def _show(access: Access, rows: list[Generation]) -> list[ShownGeneration]:
    prefetch_related_objects(rows, *_RELATED)
    now = timezone.now()
    return [ShownGeneration(row, access, now) for row in rows]


def _card(request: HttpRequest, access: Access, generation_id: int) -> HttpResponseBase:
    context: dict[str, Any] = {"each": _find(access, generation_id)}
    return pages.render(request, access, "gallery/card.html", context)
