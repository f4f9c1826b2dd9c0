"""The events of Stripe: which of them matter, and which fields of theirs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from billing import card_refunds, card_top_ups, stripe_api
from billing.card_models import TopUpOrder

# An inquiry of a bank takes no money. It becomes a dispute only later, if at all.
_INQUIRIES: Final = frozenset({"warning_needs_response", "warning_under_review", "warning_closed"})
# A dispute that was prevented or won takes no money either. One that was lost may be won by an appeal.
_WON: Final = frozenset({"won", "prevented"})


def handle(*, event_type: str, body: Any) -> None:
    """Apply an event. Unknown types are ignored. May be called again with the same event.

    Raises OrderMismatch, StripeUnavailable or StripeRefused. Stripe must then send the event again.
    """
    if (apply := _HANDLERS.get(event_type)) is not None:
        apply(body)


def _paid(body: Any) -> None:
    card_top_ups.apply_session(stripe_api.read_session(body))


def _failed(body: Any) -> None:
    card_top_ups.apply_session(stripe_api.read_session(body), unpaid_status=TopUpOrder.Status.FAILED)


def _expired(body: Any) -> None:
    card_top_ups.apply_session(stripe_api.read_session(body), unpaid_status=TopUpOrder.Status.EXPIRED)


def _refunded(body: Any) -> None:
    if (payment := stripe_api.id_of(body["payment_intent"])) is not None:
        card_top_ups.apply_refunds(
            payment_intent_id=payment, refunded_cents=body["amount_refunded"], currency=body["currency"]
        )


def _refund_changed(body: Any) -> None:
    card_refunds.apply(stripe_api.read_refund(body))


def _disputed(body: Any) -> None:
    payment = stripe_api.id_of(body["payment_intent"])
    # A dispute of nothing takes nothing.
    if payment is not None and body["status"] not in _INQUIRIES and body["amount"] > 0:
        card_top_ups.apply_dispute(
            dispute_id=body["id"],
            payment_intent_id=payment,
            amount_cents=body["amount"],
            currency=body["currency"],
            is_won=body["status"] in _WON,
        )


_HANDLERS: Final[Mapping[str, Callable[[Any], None]]] = {
    "checkout.session.completed": _paid,
    "checkout.session.async_payment_succeeded": _paid,
    "checkout.session.async_payment_failed": _failed,
    "checkout.session.expired": _expired,
    "charge.refunded": _refunded,
    "refund.created": _refund_changed,
    "refund.updated": _refund_changed,
    "refund.failed": _refund_changed,
    "charge.refund.updated": _refund_changed,
    "charge.dispute.created": _disputed,
    "charge.dispute.updated": _disputed,
    "charge.dispute.closed": _disputed,
}
# The types that an operator must choose for the endpoint.
TYPES: Final = tuple(_HANDLERS)
