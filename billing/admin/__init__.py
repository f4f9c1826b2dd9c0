"""Staff's pages for accounts, keys and the ledger. They parse, call the ledger or the keys, and show; no more."""

from django.contrib import admin

from billing.admin.accounts import AccountAdmin
from billing.admin.keys import ApiKeyAdmin
from billing.admin.records import LedgerEntryAdmin, ReservationAdmin

__all__ = ["AccountAdmin", "ApiKeyAdmin", "LedgerEntryAdmin", "ReservationAdmin"]

admin.site.site_header = admin.site.site_title = "Zekron"
