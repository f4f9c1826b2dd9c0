"""The admin of card payments and debts, which are read and searched. The command `refund_top_up` refunds a payment."""

from typing import Any, ClassVar

from django.contrib import admin

from billing.admin.columns import usd
from billing.admin.records import ReadOnlyAdmin
from billing.card_models import CardDispute, CardMovement, CardRefund, ToldRefund, TopUpOrder
from billing.debt_models import DebtEntry

_OF_ORDER = ["=order__id", "=order__account__name", "=order__account__id"]
_SEARCH_OF_ORDER = "Search by id of the top-up, account name or account id."


@admin.register(TopUpOrder)
class TopUpOrderAdmin(ReadOnlyAdmin):
    """The admin of orders by card. The search finds them by id, account or Stripe's names."""

    amounts = [usd("amount_micros"), usd("taken_micros", "reversed")]
    list_display = ["id", "account", "status", *amounts, "created_at", "paid_at"]
    fields: ClassVar[Any] = [
        *list_display[1:],
        usd("refunded_micros", "refunded, as Stripe tells"),
        usd("refund_asked_micros", "refunded, as staff asked"),
        usd("refund_failed_micros", "of these failed"),
        "session_id",
        "payment_intent_id",
        "checked_at",
    ]
    readonly_fields = fields
    list_filter = ["status"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=account__name", "=account__id", "=session_id", "=payment_intent_id"]
    search_help_text = "Search by id, account name, account id, or the id of a Checkout Session or a payment."


@admin.register(CardRefund)
class CardRefundAdmin(ReadOnlyAdmin):
    """The admin of refunds that staff asked for."""

    list_display = ["id", "order", usd("amount_micros"), "status", "created_at"]
    list_select_related = ["order"]
    fields: ClassVar[Any] = list_display
    readonly_fields = fields
    list_filter = ["status"]
    ordering = ["-created_at"]
    search_fields = _OF_ORDER
    search_help_text = _SEARCH_OF_ORDER


@admin.register(ToldRefund)
class ToldRefundAdmin(ReadOnlyAdmin):
    """The admin of refunds as Stripe tells them."""

    list_display = ["stripe_id", "order", usd("amount_micros"), "is_failed", "created_at"]
    list_select_related = ["order"]
    fields: ClassVar[Any] = list_display
    readonly_fields = fields
    list_filter = ["is_failed"]
    ordering = ["-created_at"]
    search_fields = ["=stripe_id", *_OF_ORDER]
    search_help_text = _SEARCH_OF_ORDER


@admin.register(CardDispute)
class CardDisputeAdmin(ReadOnlyAdmin):
    """The admin of disputes."""

    list_display = ["stripe_id", "order", usd("amount_micros"), "is_won", "created_at"]
    list_select_related = ["order"]
    fields: ClassVar[Any] = list_display
    readonly_fields = fields
    list_filter = ["is_won"]
    search_fields = ["=stripe_id", *_OF_ORDER]
    search_help_text = _SEARCH_OF_ORDER


@admin.register(CardMovement)
class CardMovementAdmin(ReadOnlyAdmin):
    """The admin of money that was taken back or given back."""

    list_display = ["id", "order", "kind", usd("amount_micros"), "created_at"]
    list_select_related = ["order"]
    fields: ClassVar[Any] = list_display
    readonly_fields = fields
    list_filter = ["kind"]
    ordering = ["-created_at"]
    search_fields = ["=id", *_OF_ORDER]
    search_help_text = _SEARCH_OF_ORDER


@admin.register(DebtEntry)
class DebtEntryAdmin(ReadOnlyAdmin):
    """The admin of debts as they were raised and paid."""

    amounts = [usd("amount_micros"), usd("debt_after_micros")]
    list_display = ["id", "account", "kind", *amounts, "reason", "created_at"]
    fields: ClassVar[Any] = [*list_display[1:], "ledger_entry"]
    readonly_fields = fields
    list_filter = ["kind"]
    search_fields = ["=account__name", "=account__id"]
    search_help_text = "Search by account name or account id."
