"""The log of deliveries: read, sent again on demand, and purged after a week."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from workers.models import Timestamp
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import endpoints, events, outbox
from workers.webhooks.endpoints import EndpointDisabled
from workers.webhooks.schedule import MAX_TRIES

LOG_LIFE: Final = timedelta(days=7)
# One round of a purge deletes this many rows at most. The next one, seconds later, takes the rest.
MAX_PURGED: Final = 5000
_FAILED: Final = Q(next_at__isnull=True, delivered_at__isnull=True)


class State(StrEnum):
    """The state of a delivery. A delivery that waits for its next attempt is pending."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


_OF_STATE: Final = {
    State.PENDING: Q(next_at__isnull=False),
    State.DELIVERED: Q(delivered_at__isnull=False),
    State.FAILED: _FAILED,
}


def state_of(delivery: WebhookDelivery) -> State:
    """Return the state of a delivery."""
    if delivery.next_at is not None:
        return State.PENDING
    return State.FAILED if delivery.delivered_at is None else State.DELIVERED


def get_page(
    *, endpoint_id: int, before: int | None, limit: int, state: State | None = None
) -> Sequence[WebhookDelivery]:
    """Return at most `limit` deliveries of an endpoint, newest first, older than the one with the id `before`.

    With a state the page has only the deliveries in this state.
    """
    older = Q() if before is None else Q(pk__lt=before)
    wanted = older if state is None else older & _OF_STATE[state]
    return list(WebhookDelivery.objects.filter(wanted, endpoint_id=endpoint_id).order_by("-pk")[:limit])


def find(*, endpoint_id: int, delivery_id: int) -> WebhookDelivery:
    """Return a delivery of this endpoint. Raise WebhookDelivery.DoesNotExist."""
    return WebhookDelivery.objects.get(pk=delivery_id, endpoint_id=endpoint_id)


def replay(*, delivery: WebhookDelivery, now: Timestamp = Now()) -> None:
    """Send a delivery again, with the same message id and a new schedule. One that is being sent stays as it is.

    Raise EndpointDisabled.
    """
    with transaction.atomic():
        _require_enabled(delivery.endpoint_id)
        ended_or_waiting = WebhookDelivery.objects.filter(pk=delivery.pk, lease_token__isnull=True)
        outbox.wake_soon(ended_or_waiting.update(next_at=now, tries_left=MAX_TRIES, delivered_at=None))


def recover(*, endpoint_id: int, since: datetime, until: datetime, now: Timestamp = Now()) -> int:
    """Send again what failed for an endpoint and was written from `since` to before `until`; return the number.

    Raise EndpointDisabled.
    """
    with transaction.atomic():
        _require_enabled(endpoint_id)
        failed = WebhookDelivery.objects.filter(
            _FAILED, endpoint_id=endpoint_id, created_at__gte=since, created_at__lt=until
        )
        count = failed.update(next_at=now, tries_left=MAX_TRIES)
        outbox.wake_soon(count)
    return count


def send_test(*, endpoint: WebhookEndpoint, now: Timestamp = Now()) -> WebhookDelivery:
    """Write a test event for this endpoint alone, and return its delivery. Raise EndpointDisabled."""
    with transaction.atomic():
        _require_enabled(endpoint.pk)
        made = WebhookDelivery.objects.create(
            event_id=uuid.uuid4(),
            event_type=events.TEST,
            endpoint=endpoint,
            data={"webhook_id": endpoint.pk},
            created_at=now,
            next_at=now,
            tries_left=MAX_TRIES,
        )
        outbox.wake_soon(1)
    made.refresh_from_db()
    return made


def purge(*, limit: int = MAX_PURGED, now: Timestamp = Now()) -> int:
    """Delete old deliveries, deleted endpoints without deliveries, and former secrets; return the number of deliveries.

    An attempt that is under way keeps its row. The function may run twice and at once.
    """
    endpoints.forget_former_secrets(limit=limit, now=now)
    old = WebhookDelivery.objects.filter(created_at__lt=now - LOG_LIFE, lease_token__isnull=True)
    with transaction.atomic():
        ids = list(
            old.order_by("created_at")
            .select_for_update(skip_locked=True)
            .values_list("pk", flat=True)[:limit]
        )
        count, _ = WebhookDelivery.objects.filter(pk__in=ids).delete()
    deleted = WebhookEndpoint.objects.filter(deleted_at__lt=now - LOG_LIFE)
    for endpoint in deleted.order_by("deleted_at")[:limit]:
        if not WebhookDelivery.objects.filter(endpoint=endpoint).exists():
            endpoint.delete()
    return count


def _require_enabled(endpoint_id: int) -> None:
    """Lock the endpoint, so that it stays enabled until the commit. Raise EndpointDisabled."""
    locked = WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint_id, is_enabled=True)
    if not locked.exists():
        raise EndpointDisabled
