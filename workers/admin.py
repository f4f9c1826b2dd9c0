"""Generations in the admin: to be looked at and searched, never changed. No image is ever shown."""

import re
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from workers import tokens
from workers.models import Generation

_TOKEN = re.compile(r"[0-9a-f]{64}")


@admin.register(Generation)
class GenerationAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """Found by id, account, error code, or the token of the image."""

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
    # Counting every row of a large table would take longer than the page.
    show_full_result_count = False
    search_fields = ["=id", "=error_code", "=account__name"]
    search_help_text = "Id, error code, account name, or image token."
    exclude = ["image", "token_digest", "lease_token"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Generation], search_term: str
    ) -> tuple[QuerySet[Generation], bool]:
        """A token is looked up by its digest; all else as usual."""
        if _TOKEN.fullmatch(search_term.strip()):
            return queryset.filter(token_digest=tokens.digest_of(token=search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The API makes generations."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only transitions change a generation."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History stays."""
        return False
