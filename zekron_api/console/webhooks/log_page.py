"""Pages of the log of deliveries, as people see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import deliveries
from workers.webhooks.deliveries import State

PAGE_SIZE: Final = 25
# A page looks again by itself at a delivery whose next attempt is this near, or should have begun this recently.
_NEAR: Final = timedelta(minutes=1)
_REASONS: Final = {
    "status": "the receiver refused it",
    "redirect": "the receiver redirected it, which is not followed",
    "timeout": "the receiver took too long",
    "dns": "the name of the receiver was not found",
    "connection": "the receiver could not be reached",
    "tls": "the receiver has no valid certificate",
    "protocol": "the receiver did not speak HTTP",
    "address_refused": "the receiver has a private or reserved address",
    "internal": "something went wrong on our side",
    "webhook_disabled": "the webhook was disabled",
}


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery with its state and its last failure in words."""

    delivery: WebhookDelivery
    state: State
    reason: str
    is_near: bool

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> "DeliveryRow":
        """Return the row of a delivery."""
        next_at = delivery.next_at
        return cls(
            delivery=delivery,
            state=deliveries.state_of(delivery),
            reason=_REASONS.get(delivery.error, delivery.error),
            is_near=next_at is not None and abs(next_at - timezone.now()) < _NEAR,
        )


@dataclass(frozen=True)
class LogPage:
    """A page of the log, newest first. `next_before` is the `before` of the next one, or None on the last page."""

    rows: Sequence[DeliveryRow]
    state: str
    next_before: int | None


def read(*, endpoint: WebhookEndpoint, state: str, before: str) -> LogPage:
    """Return a page of the log by the texts of a query. Texts that mean nothing are ignored."""
    wanted = State(state) if state in set(State) else None
    older_than = int(before) if before.isascii() and before.isdigit() and len(before) <= 18 else None
    found = deliveries.get_page(endpoint_id=endpoint.pk, before=older_than, limit=PAGE_SIZE + 1, state=wanted)
    shown = found[:PAGE_SIZE]
    return LogPage(
        rows=[DeliveryRow.of(delivery) for delivery in shown],
        state=wanted or "",
        next_before=shown[-1].pk if len(found) > PAGE_SIZE else None,
    )
