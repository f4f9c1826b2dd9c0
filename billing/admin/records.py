"""The admin of reservations and ledger entries, which are read and searched but never written here."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.columns import usd
from billing.admin.export import ExportMixin
from billing.models import LedgerEntry, Reservation


class ReadOnlyAdmin(ExportMixin):
    """An admin that shows and exports rows and changes none, whatever permissions the staff member has."""

    actions = ["export_csv"]
    list_select_related = ["account"]
    # To count a whole ledger for a number beside the search box would take long and help nobody.
    show_full_result_count = False
    ordering = ["-id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow nobody to add a row, because only the ledger writes rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow nobody to change a row, because it is history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow nobody to delete a row, because it is history."""
        return False


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """The admin of holds and their resolutions. The search finds them by id or account."""

    amounts = [usd("quote_micros"), usd("settled_micros")]
    list_display = ["id", "account", *amounts, "resolution", "created_at", "resolved_at"]
    fields: ClassVar[Any] = ["account", *amounts, "resolution", "created_at", "resolved_at"]
    readonly_fields = fields
    list_filter = ["resolution"]
    search_fields = ["=id", "=account__name", "=account__id"]
    search_help_text = "Search by reservation id, account name or account id."


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """The admin of all movements of money. The search finds them by account or reservation."""

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
        "api_key",
        "actor",
        "reason",
        "created_at",
    ]
    readonly_fields = fields
    list_filter = ["kind"]
    search_fields = ["=reservation__id", "=account__name", "=account__id"]
    search_help_text = "Search by account name, account id or reservation id."
