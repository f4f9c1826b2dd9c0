"""The views of keys. A new text of a key is shown once, in the reply itself."""

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_safe

from billing import key_delegation, keys
from billing.grants import Scope
from billing.key_delegation import Holder
from billing.models import ApiKey
from zekron_api.console import act_log, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.keys import rows
from zekron_api.console.keys.forms import KeyForm, RotateForm


@require_safe
@member_page(Scope.KEYS)
def show_keys(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the account's keys, and the newest revoked ones."""
    mine = access.account.pk
    context = {
        "rows": rows.list_rows(account_id=mine, is_revoked=False),
        "revoked": rows.list_rows(account_id=mine, is_revoked=True),
        "most": key_delegation.MAX_KEYS,
    }
    return pages.render(request, access, "keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.KEYS)
def create(request: HttpRequest, access: Access) -> HttpResponse:
    """Issue a key by the form, and show its text."""
    form = KeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with form.explaining():
            key, text = key_delegation.issue(
                holder=_holder(access), name=form.cleaned_data["name"], changes=form.read_grants()
            )
            act_log.note(access, "issued key %s", key.pk)
            return _show_text(request, access, key, text, title="Your new API key")
    return pages.render(request, access, "keys/form.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.KEYS)
def edit(request: HttpRequest, access: Access, key_id: int) -> HttpResponse:
    """Change a key by the form. Only what was changed in it is written."""
    key = _find(access, key_id)
    form = KeyForm(request.POST if request.method == "POST" else None, key=key)
    if form.is_valid():
        changed = set(form.changed_data)
        with form.explaining():
            key_delegation.change(
                holder=_holder(access),
                key_id=key.pk,
                name=form.cleaned_data["name"] if "name" in changed else None,
                changes=form.read_grants(of=changed),
            )
            act_log.note(access, "changed key %s", key.pk)
            messages.success(request, "The key is changed.")
            return redirect("console:keys", account_id=access.account.pk)
    return pages.render(request, access, "keys/form.html", {"form": form, "row": rows.describe(key)})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.KEYS)
def rotate(request: HttpRequest, access: Access, key_id: int) -> HttpResponse:
    """Give a key a new text after a question, and show it."""
    key = _find(access, key_id)
    form = RotateForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            key, text = key_delegation.rotate(holder=_holder(access), key_id=key.pk, overlap=form.overlap)
        except keys.AlreadyRevoked:
            messages.error(request, "This key was revoked meanwhile.")
            return redirect("console:keys", account_id=access.account.pk)
        except key_delegation.NotGranted:
            raise PermissionDenied from None
        act_log.note(access, "rotated key %s", key.pk)
        return _show_text(request, access, key, text, title="The new text of your API key")
    return pages.render(request, access, "keys/rotate.html", {"form": form, "key": key})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.KEYS)
def revoke(request: HttpRequest, access: Access, key_id: int) -> HttpResponse:
    """Revoke a key after a question."""
    key = _find(access, key_id)
    if request.method != "POST":
        return pages.render(request, access, "keys/revoke.html", {"key": key})
    try:
        key_delegation.revoke(holder=_holder(access), key_id=key.pk)
    except key_delegation.NotGranted:
        raise PermissionDenied from None
    act_log.note(access, "revoked key %s", key.pk)
    messages.success(request, f"The key {key.name or key.prefix} is revoked.")
    return redirect("console:keys", account_id=access.account.pk)


def _holder(access: Access) -> Holder:
    return Holder(account_id=access.account.pk, person_id=access.user.pk)


def _find(access: Access, key_id: int) -> ApiKey:
    return get_object_or_404(ApiKey, pk=key_id, account_id=access.account.pk, revoked_at__isnull=True)


def _show_text(request: HttpRequest, access: Access, key: ApiKey, text: str, *, title: str) -> HttpResponse:
    """Show a new text of a key. No message, session or URL keeps it."""
    # This request costs nothing and needs at most the scope `read`.
    path = "/v1/balance" if Scope.READ in key.scopes else "/v1/models"
    curl = f'curl {settings.PUBLIC_URL}{path} \\\n  -H "Authorization: Bearer {text}"'
    context = {"row": rows.describe(key), "text": text, "curl": curl, "title": title}
    return pages.render(request, access, "keys/issued.html", context)
