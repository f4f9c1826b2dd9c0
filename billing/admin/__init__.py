"""The admin pages of staff for accounts, keys, codes and the ledger. They parse, call the domain modules and show."""

from django.contrib import admin

from billing.admin.accounts import AccountAdmin
from billing.admin.card_payments import (
    CardDisputeAdmin,
    CardMovementAdmin,
    CardRefundAdmin,
    DebtEntryAdmin,
    ToldRefundAdmin,
    TopUpOrderAdmin,
)
from billing.admin.codes import RedemptionCodeAdmin
from billing.admin.keys import ApiKeyAdmin
from billing.admin.records import LedgerEntryAdmin, ReservationAdmin
from billing.admin.staff import StaffAdmin, StaffGroupAdmin, StaffLogAdmin

__all__ = [
    "AccountAdmin",
    "ApiKeyAdmin",
    "CardDisputeAdmin",
    "CardMovementAdmin",
    "CardRefundAdmin",
    "DebtEntryAdmin",
    "LedgerEntryAdmin",
    "RedemptionCodeAdmin",
    "ReservationAdmin",
    "StaffAdmin",
    "StaffGroupAdmin",
    "StaffLogAdmin",
    "ToldRefundAdmin",
    "TopUpOrderAdmin",
]

admin.site.site_header = admin.site.site_title = "Zekron"
