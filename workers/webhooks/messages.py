"""The messages that webhooks send. A body is made anew from the rows for each attempt, and is never stored."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from workers.models import Generation
from workers.webhook_models import WebhookDelivery
from workers.webhooks import endpoints, signing

# Returns the `data` of an event of this generation, with its prompt or without. HTTP is above this package, so the
# process that delivers says how the API describes a generation.
Describe = Callable[[Generation, bool], Mapping[str, Any]]
USER_AGENT: Final = "Zekron-Webhooks/1"


class Message(NamedTuple):
    """The request of one attempt."""

    url: str
    body: bytes
    headers: Mapping[str, str]


def compose(*, delivery: WebhookDelivery, describe: Describe, now: datetime) -> Message:
    """Return the message of a claimed delivery, signed for an attempt at this moment."""
    endpoint = delivery.endpoint
    data = delivery.data
    if delivery.generation is not None:
        data = dict(describe(delivery.generation, endpoint.include_prompt))
    body = orjson.dumps({"type": delivery.event_type, "timestamp": _utc(delivery.created_at), "data": data})
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-Zekron-Attempt": str(delivery.attempt_count),
        **signing.sign(
            secrets=endpoints.secrets_of(endpoint, now=now),
            message_id=delivery.message_id,
            moment=now,
            body=body,
        ),
    }
    return Message(delivery.url or endpoint.url, body, headers)


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
