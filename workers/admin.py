"""Admin pages of generations and workers. They never show an image, and cancelling is all that they change."""

import math
import re
from datetime import UTC, datetime
from typing import Any

import redis
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from workers.imaging import masks
from workers.imaging.encoders import DEFAULT_FORMAT, Encoding
from workers.lifecycle import image_tokens, operator_cancellation
from workers.messaging import worker_registry
from workers.messaging.worker_registry import Details, Worker
from workers.models import Generation

# Django finds the admin of an app in this module alone.
from workers.webhooks import admin as webhook_admin  # noqa: F401

_TOKEN = re.compile(r"[0-9a-f]{64}")


class CancelForm(forms.Form):
    """The form of a cancellation."""

    reason = forms.CharField(
        max_length=200, help_text="Staff see it. The client does not.", widget=forms.TextInput({"size": 60})
    )


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """Admin of generations, which can be cancelled, with a search by id, account, error code or image token."""

    list_display = [
        "id",
        "account",
        "status",
        "kind",
        "model",
        "size",
        "group",
        "created_at",
        "ended_at",
        "error_code",
    ]
    list_filter = ["status", "kind", "model", "error_type"]
    list_select_related = ["account"]
    # To count every row of a large table would take longer than the rest of the page.
    show_full_result_count = False
    search_fields = ["=id", "=error_code", "=account__name"]
    search_help_text = "Search by id, error code, account name or image token."
    exclude = ["image", "token_digest", "lease_token"]
    # They are parts of other columns, which show them as staff read them.
    readonly_fields = ["group", "seed", "output_format", "has_mask"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Generation], search_term: str
    ) -> tuple[QuerySet[Generation], bool]:
        """Search an image token by its digest, and any other term as Django does."""
        if _TOKEN.fullmatch(search_term.strip()):
            return queryset.filter(token_digest=image_tokens.digest_of(token=search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="group")
    def group(self, generation: Generation) -> str:
        """Return the place among the images of one request, with a link to all of them."""
        if generation.group_id is None or generation.group_index is None:
            return "alone"
        url = reverse("admin:workers_generation_changelist", query={"group_id": generation.group_id})
        return format_html(
            '<a href="{}">{}, image {}</a>', url, generation.group_id, generation.group_index + 1
        )

    @admin.display(description="seed")
    def seed(self, generation: Generation) -> str:
        """Return the seed, unless it is erased."""
        return str(generation.parameters.get("seed", "erased"))

    @admin.display(description="output format")
    def output_format(self, generation: Generation) -> str:
        """Return the format of the image, with its compression if it has one."""
        encoding = Encoding.of(generation.parameters)
        has_compression = encoding.format is not DEFAULT_FORMAT
        return f"{encoding.format} {encoding.compression}" if has_compression else encoding.format

    @admin.display(description="mask", boolean=True)
    def has_mask(self, generation: Generation) -> bool | None:
        """Return whether the edit has a mask, or None after the erasure of its parameters."""
        is_erased = not generation.prompt
        return None if is_erased else masks.PARAMETER in generation.parameters

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of workers and of a cancellation to the URLs."""
        guard = self.admin_site.admin_view
        return [
            path("workers/", guard(self.show_workers), name="workers_generation_workers"),
            path("<int:generation_id>/cancel/", guard(self.cancel), name="workers_generation_cancel"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the generation's page, with a link to cancel an open one for staff who may do so."""
        generation = self.get_object(request, object_id)
        is_wanted = generation is not None and generation.is_open and not generation.cancel_requested_at
        may_cancel = is_wanted and self._may_cancel(request)
        return super().change_view(
            request, object_id, form_url, {"may_cancel": may_cancel, **(extra_context or {})}
        )

    def cancel(self, request: HttpRequest, generation_id: int) -> HttpResponse:
        """Ask for the reason, and cancel the generation in the staff member's name."""
        if not self._may_cancel(request):
            raise PermissionDenied
        generation = self.get_object(request, str(generation_id))
        if generation is None:
            raise Http404
        form = CancelForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            return self._cancel(request, generation, form.cleaned_data["reason"])
        context = {**self.admin_site.each_context(request), "title": "Cancel generation", "opts": self.opts}
        context |= {"original": generation, "form": form}
        return TemplateResponse(request, "admin/workers/generation/cancel.html", context)

    def _cancel(self, request: HttpRequest, generation: Generation, reason: str) -> HttpResponse:
        operator = request.user.get_username()
        try:
            asked = operator_cancellation.cancel(
                generation_id=generation.pk, operator=operator, reason=reason
            )
        except operator_cancellation.NothingToCancel as error:
            self.message_user(request, str(error), messages.WARNING)
        else:
            self.log_change(request, generation, asked.error_detail)
            self.message_user(request, operator_cancellation.describe(asked))
        return HttpResponseRedirect(reverse("admin:workers_generation_change", args=[generation.pk]))

    def _may_cancel(self, request: HttpRequest) -> bool:
        """Return whether the staff member may see generations and cancel them."""
        return self.has_view_permission(request) and request.user.has_perm("workers.cancel_generation")

    def show_workers(self, request: HttpRequest) -> HttpResponse:
        """Show the live workers with their latest reports, a few seconds old."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            alive = sorted(worker_registry.list_alive()) + sorted(worker_registry.list_loading())
        except redis.RedisError:
            alive = None
        rows = None if alive is None else [_row(worker) for worker in alive]
        context = {
            **self.admin_site.each_context(request),
            "title": "Workers",
            "opts": self.opts,
            "workers": rows,
            "codes": len({row["details"].code for row in rows or () if row["details"]}),
            "now": timezone.now(),
        }
        return TemplateResponse(request, "admin/workers/generation/workers.html", context)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse additions, because only the API makes generations."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse changes, because only transitions change a generation."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse deletions, because the history must stay complete."""
        return False


def _row(worker: Worker) -> dict[str, Any]:
    details = worker.details
    return {
        "name": worker.name,
        "details": details,
        "claimed_at": _parse_time(details.claimed_at if details else None),
        "started_at": _parse_time(details.started_at if details else None),
        "loading": _describe_loading(details) if details else "",
    }


def _describe_loading(details: Details) -> str:
    """Return the stage of a worker that loads, and the part that is done, as far as they are known."""
    fraction = details.loading_fraction
    told = [details.loading_stage, "" if fraction is None else f"{math.floor(100 * fraction)} %"]
    return ", ".join(filter(None, told))


def _parse_time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
