"""Endpoints and deliveries that tests of webhooks set up."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from billing.models import Account
from tests import factories
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import claims, endpoints, events
from workers.webhooks.claims import Room
from workers.webhooks.schedule import MAX_TRIES
from workers.webhooks.sending import Outcome

NOW = factories.NOW
URL = "https://hooks.example.com/zekron"
PLENTY = Room(1000, 1000)
TAKEN = Outcome(200, "", 12)
FAILED = Outcome(500, "status", 12)


def endpoint(owner: Account | None = None, **changes: Any) -> WebhookEndpoint:
    """Create an endpoint."""
    return endpoints.create(
        account_id=(owner or factories.account()).pk, **{"url": URL, "now": NOW, **changes}
    )


def delivery(of: WebhookEndpoint, **changes: Any) -> WebhookDelivery:
    """Insert a delivery that is due."""
    columns = {
        "event_id": uuid.uuid4(),
        "event_type": events.TEST,
        "data": {"a": 1},
        "created_at": NOW,
        "next_at": NOW,
        "tries_left": MAX_TRIES,
    }
    return WebhookDelivery.objects.create(endpoint=of, **{**columns, **changes})


def claim(*of: WebhookEndpoint, now: datetime = NOW, room: Room = PLENTY) -> list[WebhookDelivery]:
    """Claim what is due for these endpoints."""
    return claims.claim(endpoint_ids=[each.pk for each in of], room=room, now=now)


def later(**of: float) -> datetime:
    """Return a time after NOW."""
    return NOW + timedelta(**of)
