"""Claims of due deliveries under leases, and the record of how each attempt ended.

Endpoints have their turns one after the other, so the deliveries that one of them has waiting delay no other endpoint.
Locks are taken in the order endpoint, delivery.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.models import Timestamp
from workers.webhook_models import DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import endpoints
from workers.webhooks.schedule import delay_seconds
from workers.webhooks.sending import Outcome

# An attempt takes 15 seconds at most. Without a record after this time, its process counts as dead.
LEASE_SECONDS: Final = 60
# The attempts that one endpoint gets at once. One that fails gets a single one until it succeeds.
MAX_AT_ONCE: Final = 4
# One look at the table visits this many endpoints that wait. The next look goes on behind the last of them.
ENDPOINTS_PER_LOOK: Final = 200
# An endpoint is disabled after this many failures in a row, if they last for this long.
MAX_FAILURES: Final = 50
MAX_FAILING: Final = timedelta(hours=24)
GONE: Final = 410

# Each step of the recursion finds the next endpoint that has an open delivery, and the earliest of these, both at once
# in the index of open deliveries. It skips all other rows of an endpoint.
_LOOK: Final = f"""
WITH RECURSIVE waiting AS (
    (SELECT endpoint_id, next_at, 1 AS position FROM workers_webhookdelivery
        WHERE next_at IS NOT NULL AND endpoint_id > %(after)s ORDER BY endpoint_id, next_at LIMIT 1)
    UNION ALL
    SELECT following.endpoint_id, following.next_at, position + 1
    FROM waiting, LATERAL (
        SELECT endpoint_id, next_at FROM workers_webhookdelivery
        WHERE next_at IS NOT NULL AND endpoint_id > waiting.endpoint_id ORDER BY endpoint_id, next_at LIMIT 1
    ) following
    WHERE position < %(limit)s
)
SELECT endpoint_id, next_at <= {NOW} FROM waiting ORDER BY endpoint_id
"""  # noqa: S608 (only constants are inserted)
# The endpoints are locked by a statement before, so no other process claims for them and the count is exact.
_CLAIM: Final = f"""
UPDATE workers_webhookdelivery d SET attempt_count = attempt_count + 1, tries_left = greatest(tries_left - 1, 0),
    lease_token = gen_random_uuid(), next_at = {NOW} + interval '{LEASE_SECONDS} seconds'
FROM unnest(%(endpoint_ids)s::bigint[], %(rooms)s::int[]) AS locked (endpoint_id, room), LATERAL (
    SELECT id FROM workers_webhookdelivery due
    WHERE due.endpoint_id = locked.endpoint_id AND due.next_at <= {NOW}
    ORDER BY due.next_at, due.id
    LIMIT greatest(0, locked.room - (
        SELECT count(*) FROM workers_webhookdelivery leased
        WHERE leased.endpoint_id = locked.endpoint_id AND leased.lease_token IS NOT NULL AND leased.next_at > {NOW}))
    FOR NO KEY UPDATE SKIP LOCKED
) due
WHERE d.id = due.id
RETURNING d.id
"""  # noqa: S608 (only constants are inserted)


class Look(NamedTuple):
    """The endpoints of one look at the table that have a delivery due.

    `last_id` is the endpoint behind which the next look starts, or 0 if there were no more endpoints.
    """

    due_ids: Sequence[int]
    last_id: int


class Room(NamedTuple):
    """The number of attempts that may begin now, and how many of them may be for endpoints that fail."""

    total: int
    failing: int


def look(*, after_id: int, limit: int = ENDPOINTS_PER_LOOK, now: datetime | None = None) -> Look:
    """Return the endpoints with a delivery due, among the next `limit` that wait. It locks and changes nothing."""
    rows = plain_sql.execute(_LOOK, {"after": after_id, "limit": limit, "now": now})
    last_id = rows[-1][0] if len(rows) == limit else 0
    return Look([endpoint_id for endpoint_id, is_due in rows if is_due], last_id)


def claim(*, endpoint_ids: Collection[int], room: Room, now: datetime | None = None) -> list[WebhookDelivery]:
    """Claim due deliveries of these endpoints, and return them with their endpoints.

    An endpoint for which another process claims at this moment is left out, and so is a disabled one.
    """
    with transaction.atomic():
        # Read committed: the next statement sees what a process that held these locks has claimed.
        locked = WebhookEndpoint.objects.filter(pk__in=endpoint_ids, is_enabled=True)
        rows = locked.select_for_update(no_key=True, skip_locked=True).order_by("pk")
        rooms = _share(list(rows.values_list("pk", "failure_count")), room)
        values = {"endpoint_ids": list(rooms), "rooms": list(rooms.values()), "now": now}
        ids = [row_id for (row_id,) in plain_sql.execute(_CLAIM, values)] if rooms else []
    claimed = WebhookDelivery.objects.filter(pk__in=ids).order_by("next_at", "pk")
    return list(
        claimed.select_related(
            "endpoint__secret", "endpoint__former_secret", "generation__image", "generation__account"
        )
    )


def record(*, delivery: WebhookDelivery, outcome: Outcome, now: Timestamp = Now()) -> bool:
    """Record the outcome of an attempt, and return whether it counts. It does not if the lease was lost.

    A failed delivery is due again, or ends after its last try. A receiver that says 410 ends it, and is disabled.
    """
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=delivery.endpoint_id)
        is_gone = outcome.status == GONE
        goes_on = not (outcome.is_success or is_gone) and delivery.tries_left > 0 and endpoint.is_enabled
        leased = WebhookDelivery.objects.filter(pk=delivery.pk, lease_token=delivery.lease_token)
        delay = (
            delay_seconds(tries_left=delivery.tries_left, retry_after_seconds=outcome.retry_after_seconds)
            if goes_on
            else 0
        )
        is_recorded = leased.update(
            lease_token=None,
            next_at=now + timedelta(seconds=delay) if goes_on else None,
            delivered_at=now if outcome.is_success else None,
            attempted_at=now,
            response_status=outcome.status,
            error=outcome.error,
            milliseconds=outcome.milliseconds,
        )
        if is_recorded:
            _count(endpoint, outcome, now)
            if is_gone and not endpoint.is_default:
                endpoints.disable(endpoint=endpoint, reason=DisabledReason.GONE, now=now)
    return bool(is_recorded)


def _share(waiting: Sequence[tuple[int, int]], room: Room) -> dict[int, int]:
    """Return the attempts that each endpoint may have at once, for as many endpoints as there is room for."""
    total, failing = room
    shares = {}
    for endpoint_id, failure_count in waiting:
        share = min(1 if failure_count else MAX_AT_ONCE, total, failing if failure_count else total)
        if share > 0:
            shares[endpoint_id] = share
            total -= share
            failing -= share if failure_count else 0
    return shares


def _count(endpoint: WebhookEndpoint, outcome: Outcome, now: Timestamp) -> None:
    """Count the outcome, and disable an endpoint that has failed for too long.

    The default endpoint stands for many addresses, so their failures in a row say nothing.
    """
    mine = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    if outcome.is_success:
        # Of many successes in a row, not each is worth a write.
        stale = Q(last_success_at__isnull=True) | Q(last_success_at__lt=now - timedelta(minutes=1))
        mine.filter(stale | Q(failure_count__gt=0)).update(
            failure_count=0, failing_since=None, last_success_at=now
        )
    elif not endpoint.is_default:
        mine.update(failure_count=F("failure_count") + 1, failing_since=Coalesce("failing_since", now))
        if mine.filter(failure_count__gte=MAX_FAILURES, failing_since__lte=now - MAX_FAILING).exists():
            endpoints.disable(endpoint=endpoint, reason=DisabledReason.FAILING, now=now)
