"""Reservations and ledger entries: to be read and searched, never written here."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.columns import usd
from billing.models import LedgerEntry, Reservation


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """Shows rows and changes none, whatever permissions the staff member has."""

    list_select_related = ["account"]
    # Counting a whole ledger for a number beside the search box is work for nobody.
    show_full_result_count = False
    ordering = ["-id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: rows come from the ledger."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: a row is history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: a row is history."""
        return False


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """Holds and how they ended; found by their id or their account."""

    amounts = [usd("quote_micros"), usd("settled_micros")]
    list_display = ["id", "account", *amounts, "resolution", "created_at", "resolved_at"]
    fields: ClassVar[Any] = ["account", *amounts, "resolution", "created_at", "resolved_at"]
    readonly_fields = fields
    list_filter = ["resolution"]
    search_fields = ["=id", "=account__name", "=account__id"]
    search_help_text = "Reservation's id, account's name or id"


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Every movement of money; found by account or reservation."""

    amounts = [usd("amount_micros"), usd("balance_after_micros"), usd("reserved_after_micros")]
    list_display = [
        "id",
        "account",
        "sequence",
        "kind",
        *amounts,
        "reservation_id",
        "actor",
        "reason",
        "created_at",
    ]
    fields: ClassVar[Any] = [
        "account",
        "sequence",
        "kind",
        *amounts,
        "reservation",
        "actor",
        "reason",
        "created_at",
    ]
    readonly_fields = fields
    list_filter = ["kind"]
    search_fields = ["=reservation__id", "=account__name", "=account__id"]
    search_help_text = "Account's name or id, reservation's id"
