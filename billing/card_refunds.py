"""Refunds by card. For those of staff, the account pays first, then Stripe is asked, and a refusal gives it back.

A refund that Stripe accepted may fail later. It is told by its id, so any order of events comes to the same sums.
"""

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Now

from billing import card_top_ups, ledger, stripe_api
from billing.card_models import MICROS_PER_CENT, CardRefund, ToldRefund, TopUpOrder
from billing.money import format_usd

log = logging.getLogger(__name__)

# A call that is under way has had this long to end.
_RETRY_AFTER: Final = timedelta(minutes=5)
# Stripe knows a refund by its id for at least a day. Later a second call could refund it twice.
_GIVE_UP_AFTER: Final = timedelta(hours=23)
MAX_SENT_AT_ONCE: Final = 20

Status = CardRefund.Status


class NotRefundable(Exception):
    """The order is not paid, or less of it is left than should be refunded."""


def refund(*, order_id: UUID, amount_micros: int, actor: str, reason: str) -> CardRefund:
    """Take the amount out of the account and have Stripe pay it back to the card.

    Raises NotRefundable, InsufficientBalance, or ValueError for an amount, actor or reason that cannot be. If Stripe
    refuses, the account gets the amount back: raises StripeRefused. After StripeUnavailable nobody knows whether Stripe
    refunds it, so the refund stays pending, and `send_pending` asks again.
    """
    if amount_micros % MICROS_PER_CENT:
        raise ValueError("A card is refunded in whole cents.")
    with transaction.atomic():
        order = card_top_ups.lock(order_id)
        left_micros = order.amount_micros - order.refund_micros - card_top_ups.disputed_micros(order)
        if order.status != TopUpOrder.Status.PAID or amount_micros > left_micros:
            left = format_usd(max(left_micros, 0)) if order.status == TopUpOrder.Status.PAID else "nothing"
            raise NotRefundable(f"The {order} is {order.status}, and {left} of it can be refunded.")
        made = CardRefund(pk=uuid4(), order=order, amount_micros=amount_micros)
        ledger.refund(
            account_id=order.account_id,
            amount_micros=amount_micros,
            actor=actor,
            reason=reason,
            request_id=made.pk,
        )
        made.save(force_insert=True)
        order.refund_asked_micros = order.refund_micros + order.refund_failed_micros + amount_micros
        order.save(update_fields=["refund_asked_micros"])
        card_top_ups.record(order, movement_id=made.pk, change_micros=amount_micros)
    _send(made)
    return made


def send_pending() -> None:
    """Ask Stripe again for refunds whose answer was lost. May run twice or at once: a refund is made once."""
    pending = CardRefund.objects.filter(status=Status.PENDING, created_at__lt=Now() - _RETRY_AFTER)
    recent = pending.filter(created_at__gt=Now() - _GIVE_UP_AFTER).select_related("order")
    for made in recent.order_by("created_at")[:MAX_SENT_AT_ONCE]:
        try:
            _send(made)
        except stripe_api.StripeRefused:
            # The account has its money back, and the row says so.
            log.error("Stripe refused the %s, which is given back to the account.", made)
    if lost := pending.filter(created_at__lte=Now() - _GIVE_UP_AFTER).count():
        log.error("%s refunds by card are pending for a day. Look at them in Stripe's dashboard.", lost)


def apply(told: stripe_api.Refund) -> None:
    """Take a refund that Stripe tells out of the order's account, or give it back if it failed. May be called again.

    A refund that staff asked for is taken already. Raises OrderMismatch, StripeUnavailable or StripeRefused.
    """
    if told.payment_intent is None or told.amount_cents <= 0:
        return
    if (order_id := card_top_ups.find_order(told.payment_intent)) is None:
        return
    amount_micros = told.amount_cents * MICROS_PER_CENT
    with transaction.atomic():
        order = card_top_ups.lock(order_id)
        if told.currency != "usd" or amount_micros > order.amount_micros:
            raise card_top_ups.OrderMismatch(f"The refund {told.id} is no part of {order}.")
        row, _ = ToldRefund.objects.get_or_create(
            stripe_id=told.id,
            defaults={"order": order, "amount_micros": amount_micros, "is_failed": told.is_failed},
        )
        if told.is_failed and not row.is_failed:
            row.is_failed = True
            row.save(update_fields=["is_failed"])
            log.error("The %s of %s failed at Stripe.", row, order)
        _add_up(order)
        if (asked := card_top_ups.parse_id(told.asked)) is not None:
            answered = [Status.PENDING, Status.DONE] if row.is_failed else [Status.PENDING]
            status = Status.REFUSED if row.is_failed else Status.DONE
            CardRefund.objects.filter(pk=asked, order=order, status__in=answered).update(status=status)
        card_top_ups.settle(order, reason=f"{'failed ' * row.is_failed}{row} of {order}")


def _add_up(order: TopUpOrder) -> None:
    """Write the sums of the refunds that Stripe told of the locked order. Never more is refunded than was paid."""
    sums = order.told_refunds.aggregate(
        told=Sum("amount_micros"), failed=Sum("amount_micros", filter=Q(is_failed=True), default=0)
    )
    order.refund_failed_micros = sums["failed"]
    # The failure of a former refund may be told after the refund that was made in its place.
    told_micros = min(sums["told"], order.amount_micros + sums["failed"])
    order.refunded_micros = max(order.refunded_micros, told_micros)
    order.save(update_fields=["refund_failed_micros", "refunded_micros"])


def _send(made: CardRefund) -> None:
    payment_intent_id = made.order.payment_intent_id
    assert payment_intent_id is not None
    try:
        told = stripe_api.create_refund(
            refund_id=made.pk,
            payment_intent_id=payment_intent_id,
            amount_cents=made.amount_micros // MICROS_PER_CENT,
        )
    except stripe_api.StripeRefused:
        _give_back(made)
        raise
    apply(told)
    made.refresh_from_db(fields=["status"])
    if made.status == Status.REFUSED:
        raise stripe_api.StripeRefused("The refund failed.")


def _give_back(made: CardRefund) -> None:
    with transaction.atomic():
        order = card_top_ups.lock(made.order_id)
        if CardRefund.objects.filter(pk=made.pk, status=Status.PENDING).update(status=Status.REFUSED) != 1:
            return
        made.status = Status.REFUSED
        order.refund_asked_micros -= made.amount_micros
        order.save(update_fields=["refund_asked_micros"])
        card_top_ups.settle(order, reason=f"refused {made} of {order}")
