"""Top-ups by card. An order is written first, then Stripe is asked for the page on which the customer pays.

Events of Stripe come late, twice and in any order. Each is brought to one state of the order: paid or not, and how much
of it refunds and disputes have taken back. Money moves by the difference to the state before, under the order's lock.
"""

import logging
from typing import Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now

from billing import accounts, ledger, stripe_api
from billing.card_models import MICROS_PER_CENT, CardDispute, CardMovement, TopUpOrder
from billing.money import MICROS_PER_DOLLAR, format_usd

log = logging.getLogger(__name__)

# The actor of a credit or a reversal by Stripe. No member of staff has a name with a blank.
ACTOR: Final = "Stripe Checkout"
# A page that nobody opened is asked for until it ends, so an account has few of them.
MAX_PENDING: Final = 10
# A customer has few orders.
MAX_LISTED: Final = 100

Status = TopUpOrder.Status
Kind = CardMovement.Kind


class AmountOutOfBounds(Exception):
    """The amount is not a number of whole cents within the operator's bounds."""


class TooManyPending(Exception):
    """The account has as many orders that wait for their payment as it may."""


class OrderMismatch(Exception):
    """Stripe tells another amount, currency, session or payment than the order has."""


def order(*, account_id: int, amount_micros: int, return_url: str = "") -> TopUpOrder:
    """Order a top-up and return it with the page on which the customer pays.

    The customer then goes to the operator's page, if the settings name one, or else to `return_url` or the service's
    own address. Raises AmountOutOfBounds, TooManyPending, StripeUnavailable or StripeRefused.
    """
    least, most = settings.TOP_UP_MIN_USD, settings.TOP_UP_MAX_USD
    is_within = least * MICROS_PER_DOLLAR <= amount_micros <= most * MICROS_PER_DOLLAR
    if not is_within or amount_micros % MICROS_PER_CENT:
        raise AmountOutOfBounds(f"amount must be from {least}.00 to {most}.00 USD, in whole cents.")
    with transaction.atomic():
        # Orders at once count each other, because the second waits for the account's row.
        accounts.lock(account_id=account_id)
        if TopUpOrder.objects.filter(account_id=account_id, status=Status.PENDING).count() >= MAX_PENDING:
            raise TooManyPending
        made = TopUpOrder.objects.create(account_id=account_id, amount_micros=amount_micros)
    try:
        session = stripe_api.create_session(
            order_id=made.pk,
            amount_cents=amount_micros // MICROS_PER_CENT,
            return_url=settings.TOP_UP_RETURN_URL or return_url or settings.PUBLIC_URL,
        )
    except (stripe_api.StripeUnavailable, stripe_api.StripeRefused):
        end_unpaid(made.pk, Status.FAILED)
        raise
    TopUpOrder.objects.filter(pk=made.pk).update(session_id=session.id, url=session.url)
    made.refresh_from_db()
    return made


def list_newest(*, account_id: int) -> QuerySet[TopUpOrder]:
    """Return the account's newest orders, newest first. Older ones are in the history of the provider."""
    return TopUpOrder.objects.filter(account_id=account_id).order_by("-created_at")[:MAX_LISTED]


def apply_session(session: stripe_api.Session, *, unpaid_status: str = "") -> None:
    """Bring the session's order to the session's state. May be called again. Sessions of others are ignored.

    `unpaid_status` is the status of an order that can be paid no more. Raises OrderMismatch.
    """
    order_id = parse_id(session.order)
    if order_id is None or not TopUpOrder.objects.filter(pk=order_id).exists():
        log.info("A Checkout Session is for no order of this service.")
    elif session.is_paid:
        _credit(order_id, session)
    elif unpaid_status:
        # The order's own page may still be open.
        end_unpaid(order_id, unpaid_status, session_id=session.id)


def apply_refunds(*, payment_intent_id: str, refunded_cents: int, currency: str) -> None:
    """Take refunds of a payment out of its account. `refunded_cents` is the sum of all. May be called again."""
    order_id = find_order(payment_intent_id)
    if order_id is None:
        return
    with transaction.atomic():
        locked = lock(order_id)
        refunded_micros = refunded_cents * MICROS_PER_CENT
        if currency != "usd" or refunded_micros > locked.amount_micros:
            raise OrderMismatch(f"The refunds of {locked} are not a part of it.")
        locked.refunded_micros = max(locked.refunded_micros, refunded_micros)
        locked.save(update_fields=["refunded_micros"])
        settle(locked, reason=f"refund of {locked}")


def apply_dispute(
    *, dispute_id: str, payment_intent_id: str, amount_cents: int, currency: str, is_won: bool
) -> None:
    """Take a disputed amount out of its account and suspend the account, or give it back if the dispute is won.

    May be called again. A dispute that was won once stays won.
    """
    order_id = find_order(payment_intent_id)
    if order_id is None:
        return
    with transaction.atomic():
        locked = lock(order_id)
        # A bank may name more than was paid. No more than that was credited.
        amount_micros = min(amount_cents * MICROS_PER_CENT, locked.amount_micros)
        if currency != "usd":
            raise OrderMismatch(f"The {dispute_id} of {locked} is in another currency.")
        dispute, is_new = CardDispute.objects.get_or_create(
            stripe_id=dispute_id, defaults={"order": locked, "amount_micros": amount_micros, "is_won": is_won}
        )
        if is_won and not dispute.is_won:
            dispute.is_won = True
            dispute.save(update_fields=["is_won"])
        settle(locked, reason=f"{dispute} of {locked}")
        if is_new and not is_won:
            accounts.suspend(account_id=locked.account_id)
            log.error("Account %s is suspended by %s of %s.", locked.account_id, dispute, locked)


def end_unpaid(order_id: UUID, status: str, *, session_id: str = "") -> None:
    """Give a pending order its last status. With `session_id`, only if the order has no other session."""
    pending = TopUpOrder.objects.filter(pk=order_id, status=Status.PENDING)
    if session_id:
        pending = pending.filter(session_id__in=("", session_id))
    pending.update(status=status)


def lock(order_id: UUID) -> TopUpOrder:
    """Return the order, locked until the end of the transaction."""
    ledger.require_transaction()
    return TopUpOrder.objects.select_for_update(no_key=True).get(pk=order_id)


def find_order(payment_intent_id: str) -> UUID | None:
    """Return the order of a payment, or None for a payment of something else. Stripe is asked for an unknown one."""
    known = (
        TopUpOrder.objects.filter(payment_intent_id=payment_intent_id).values_list("pk", flat=True).first()
    )
    if known is not None:
        return known
    told = parse_id(stripe_api.find_order_of_payment(payment_intent_id=payment_intent_id))
    return told if told is not None and TopUpOrder.objects.filter(pk=told).exists() else None


def parse_id(text: str | None) -> UUID | None:
    """Return the id that Stripe was given as metadata, or None if it is none."""
    try:
        return UUID(text or "")
    except ValueError:
        return None


def settle(locked: TopUpOrder, *, reason: str) -> None:
    """Move the difference between what the locked order has taken back and what it must have."""
    change_micros = _due_micros(locked) - locked.taken_micros
    if not change_micros:
        return
    movement_id = uuid4()
    move = ledger.reverse if change_micros > 0 else ledger.top_up
    move(
        account_id=locked.account_id,
        amount_micros=abs(change_micros),
        actor=ACTOR,
        reason=reason,
        request_id=movement_id,
    )
    record(locked, movement_id=movement_id, change_micros=change_micros)


def record(locked: TopUpOrder, *, movement_id: UUID, change_micros: int) -> None:
    """Note a movement that the ledger has made, on the locked order."""
    kind = Kind.TAKEN if change_micros > 0 else Kind.GIVEN_BACK
    CardMovement.objects.create(pk=movement_id, order=locked, kind=kind, amount_micros=abs(change_micros))
    locked.taken_micros += change_micros
    locked.save(update_fields=["taken_micros"])


def disputed_micros(locked: TopUpOrder) -> int:
    """Return the sum of the order's disputes that are not won."""
    found = locked.disputes.filter(is_won=False).aggregate(total=Sum("amount_micros"))
    return int(found["total"] or 0)


def _due_micros(locked: TopUpOrder) -> int:
    """Return how much of the order refunds and disputes take back, together never more than was paid."""
    if locked.status != Status.PAID:
        return 0
    return min(locked.amount_micros, locked.refund_micros + disputed_micros(locked))


def _credit(order_id: UUID, session: stripe_api.Session) -> None:
    with transaction.atomic():
        locked = lock(order_id)
        # The event may come before the session's id is written.
        if locked.session_id not in ("", session.id):
            raise OrderMismatch(f"Stripe tells another session than {locked} has.")
        if (session.amount_cents * MICROS_PER_CENT, session.currency) != (locked.amount_micros, "usd"):
            raise OrderMismatch(f"Stripe tells another amount than {format_usd(locked.amount_micros)} USD.")
        if locked.status == Status.PAID:
            return
        locked.status, locked.paid_at, locked.payment_intent_id = Status.PAID, Now(), session.payment_intent
        locked.save(update_fields=["status", "paid_at", "payment_intent_id"])
        ledger.top_up(
            account_id=locked.account_id,
            amount_micros=locked.amount_micros,
            actor=ACTOR,
            reason=f"Checkout Session {session.id}",
            request_id=locked.pk,
        )
        # Refunds and disputes may have been told before the payment was.
        settle(locked, reason=f"reversal of {locked}")
