"""Orders by card whose event may be lost. Stripe is asked for them in turn, until it has told their end."""

import logging
from datetime import timedelta
from typing import Final

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F
from django.db.models.functions import Coalesce, Greatest, Least, Now

from billing import card_top_ups, stripe_api
from billing.card_models import TopUpOrder

log = logging.getLogger(__name__)

# Stripe's own event has had this long to arrive.
LATE_AFTER: Final = timedelta(minutes=15)
# An order is asked for again once it is twice as old, and at least this often.
MAX_WAIT: Final = timedelta(hours=6)
# A page for a payment ends after a day. Later an order is given up, but only if Stripe does not know its page.
GIVE_UP_AFTER: Final = timedelta(hours=25)
# Each is a call over the network.
MAX_CHECKED_AT_ONCE: Final = 20
_AGE_WHEN_CHECKED: Final = ExpressionWrapper(F("checked_at") - F("created_at"), DurationField())
_DUE_AT: Final = ExpressionWrapper(
    Coalesce(
        F("checked_at") + Least(Greatest(_AGE_WHEN_CHECKED, LATE_AFTER), MAX_WAIT),
        F("created_at") + LATE_AFTER,
    ),
    DateTimeField(),
)

Status = TopUpOrder.Status


def check() -> int:
    """Ask Stripe for pending orders whose event may be lost. Return how many were asked for.

    The one that is due for the longest comes first, so no number of newer orders keeps it waiting for ever.
    """
    pending_orders = TopUpOrder.objects.filter(status=Status.PENDING).annotate(due_at=_DUE_AT)
    checked = list(pending_orders.filter(due_at__lt=Now()).order_by("due_at")[:MAX_CHECKED_AT_ONCE])
    for pending in checked:
        TopUpOrder.objects.filter(pk=pending.pk).update(checked_at=Now())
        if pending.session_id:
            _ask(pending)
        else:
            # The process died between the order and its page, so the customer never saw the page.
            card_top_ups.end_unpaid(pending.pk, Status.FAILED)
    return len(checked)


def _ask(pending: TopUpOrder) -> None:
    try:
        session = stripe_api.retrieve_session(session_id=pending.session_id)
        card_top_ups.apply_session(session, unpaid_status="" if session.is_open else Status.EXPIRED)
    except (stripe_api.StripeRefused, card_top_ups.OrderMismatch) as error:
        # One order that Stripe does not know as it is here must not keep the others from being asked for.
        log.error("The state of %s is not known: %s", pending, error)
        if isinstance(error, stripe_api.StripeRefused):
            _give_up(pending)


def _give_up(pending: TopUpOrder) -> None:
    """End an order whose session Stripe does not know, once no page could be open any more."""
    old = TopUpOrder.objects.filter(
        pk=pending.pk, status=Status.PENDING, created_at__lt=Now() - GIVE_UP_AFTER
    )
    old.update(status=Status.EXPIRED)
