"""Admin pages of generations and workers. They never show an image. Staff cancel and refund generations here."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

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

from billing import ledger
from billing.admin import reauthentication
from billing.admin.records import ReadOnlyAdmin
from billing.money import format_usd
from workers.imaging import masks
from workers.imaging.encoders import DEFAULT_FORMAT, Encoding
from workers.lifecycle import generation_refund, image_tokens, operator_cancellation
from workers.messaging import worker_registry
from workers.messaging.worker_registry import Details, Worker
from workers.models import Generation

# Django finds the admin of an app in this module alone.
from workers.webhooks import admin as webhook_admin  # noqa: F401

_REFUSALS: Final = (
    operator_cancellation.NothingToCancel,
    generation_refund.NothingToRefund,
    ledger.MovedBefore,
)
_TOKEN = re.compile(r"[0-9a-f]{64}")


class ReasonForm(forms.Form):
    """The form of a cancellation or a refund."""

    reason = forms.CharField(
        max_length=200, help_text="Staff see it. The client does not.", widget=forms.TextInput({"size": 60})
    )


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """Admin of generations, with a search by id, account, error code or image token."""

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
    search_fields = ["=id", "=error_code", "=account__name"]
    search_help_text = "Search by id, error code, account name or image token."
    exclude = ["image", "token_digest", "lease_token"]
    # They are parts of other columns, which show them as staff read them.
    readonly_fields = ["group", "seed", "output_format", "has_mask", "refunded"]

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

    @admin.display(description="refunded")
    def refunded(self, generation: Generation) -> str:
        """Return when and by whom the cost was credited, if it was."""
        entry = generation_refund.find(generation_id=generation.pk)
        return "no" if entry is None else f"{entry.created_at:%Y-%m-%d %H:%M} UTC by {entry.actor}"

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of workers, of a cancellation and of a refund to the URLs."""
        guard = self.admin_site.admin_view
        return [
            path("workers/", guard(self.show_workers), name="workers_generation_workers"),
            path("<int:generation_id>/cancel/", guard(self.cancel), name="workers_generation_cancel"),
            path("<int:generation_id>/refund/", guard(self.refund), name="workers_generation_refund"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the generation's page, with links to what the staff member may do with it."""
        generation = self.get_object(request, object_id)
        context = {
            "may_cancel": generation is not None
            and generation.is_open
            and not generation.cancel_requested_at
            and self._may(request, "cancel"),
            "may_refund": generation is not None
            and bool(generation.cost_micros)
            and self._may(request, "refund")
            and generation_refund.find(generation_id=generation.pk) is None,
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def cancel(self, request: HttpRequest, generation_id: int) -> HttpResponse:
        """Ask for the reason, and cancel the generation in the staff member's name."""
        return self._act(request, generation_id, "cancel", self._cancel)

    def refund(self, request: HttpRequest, generation_id: int) -> HttpResponse:
        """Ask for the reason, and credit the generation's cost to its account in the staff member's name."""
        return self._act(request, generation_id, "refund", self._refund)

    def _act(
        self, request: HttpRequest, generation_id: int, name: str, act: Callable[..., tuple[str, str]]
    ) -> HttpResponse:
        """Ask for the reason, act with it, and note and show the two sentences that `act` returns.

        It returns the sentence for the log of staff, and the one for the staff member.
        """
        if not self._may(request, name):
            raise PermissionDenied
        generation = self.get_object(request, str(generation_id))
        if generation is None:
            raise Http404
        if name == "refund" and (asked := reauthentication.ask(request)):
            return asked
        form = ReasonForm(reauthentication.typed_form(request))
        if request.method != "POST" or not form.is_valid():
            context = {
                **self.admin_site.each_context(request),
                "title": f"{name.capitalize()} generation",
                "opts": self.opts,
                "original": generation,
                "cost": format_usd(generation.cost_micros or 0),
                "form": form,
            }
            return TemplateResponse(request, f"admin/workers/generation/{name}.html", context)
        try:
            noted, shown = act(generation.pk, request.user.get_username(), form.cleaned_data["reason"])
        except _REFUSALS as error:
            self.message_user(request, str(error), messages.WARNING)
        else:
            self.log_change(request, generation, noted)
            self.message_user(request, shown)
        return HttpResponseRedirect(reverse("admin:workers_generation_change", args=[generation.pk]))

    def _cancel(self, generation_id: int, operator: str, reason: str) -> tuple[str, str]:
        asked = operator_cancellation.cancel(generation_id=generation_id, operator=operator, reason=reason)
        return asked.error_detail, operator_cancellation.describe(asked)

    def _refund(self, generation_id: int, operator: str, reason: str) -> tuple[str, str]:
        entry = generation_refund.refund(generation_id=generation_id, actor=operator, reason=reason)
        amount = f"{format_usd(entry.amount_micros)} USD"
        return f"Refunded {amount}: {reason}", f"{amount} are back on account {entry.account}."

    def _may(self, request: HttpRequest, act: str) -> bool:
        """Return whether the staff member may see generations and do this with them."""
        return self.has_view_permission(request) and request.user.has_perm(f"workers.{act}_generation")

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
