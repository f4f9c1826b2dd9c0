"""Admin pages of generations and workers. They are read-only, and they never show an image."""

import re
from datetime import UTC, datetime
from typing import Any

import redis
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from workers.lifecycle import image_tokens
from workers.messaging import worker_registry
from workers.messaging.worker_registry import Worker
from workers.models import Generation

_TOKEN = re.compile(r"[0-9a-f]{64}")


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """Read-only admin of generations, with a search by id, account, error code or image token."""

    list_display = [
        "id",
        "account",
        "status",
        "kind",
        "model",
        "size",
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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Generation], search_term: str
    ) -> tuple[QuerySet[Generation], bool]:
        """Search an image token by its digest, and any other term as Django does."""
        if _TOKEN.fullmatch(search_term.strip()):
            return queryset.filter(token_digest=image_tokens.digest_of(token=search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)

    def get_urls(self) -> list[URLPattern]:
        """Add the page of workers to the URLs."""
        view = self.admin_site.admin_view(self.show_workers)
        return [path("workers/", view, name="workers_generation_workers"), *super().get_urls()]

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
    }


def _parse_time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
