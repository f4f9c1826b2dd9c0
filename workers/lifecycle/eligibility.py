"""Conditions for generations that a worker may claim or that are to be given up, and the order of the queue.

It writes nothing. Each condition is served by one index, so a long queue does not slow down its query.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from django.db.models import Q

from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Status, Timestamp

# The condition of a generation that is queued, has an attempt left, and is due before its deadline.
CLAIMABLE: Final = f"""
    status = 'queued' AND attempt_count < {MAX_ATTEMPTS} AND not_before <= {NOW} AND deadline_at > {NOW}
    AND (queue_until IS NULL OR queue_until > {NOW} OR attempt_count > 0)
"""
_MODELS_BY_TURN: Final = f"""
SELECT name FROM unnest(%(models)s::text[]) AS name, LATERAL (
    SELECT turn_at, id FROM workers_generation WHERE {CLAIMABLE} AND model = name ORDER BY turn_at, id LIMIT 1
) AS first
ORDER BY turn_at, id
"""  # noqa: S608 (only constants are inserted)


def models_by_turn(*, models: Collection[str], now: datetime | None) -> Sequence[str]:
    """Return the models that have claimable generations, ordered by turn.

    A single model is returned without a query.
    """
    if len(models) <= 1:
        return list(models)
    return [name for (name,) in plain_sql.execute(_MODELS_BY_TURN, {"models": list(models), "now": now})]


def overdue(now: Timestamp) -> Q:
    """Return the condition of a generation that is to be given up, for either of the two reasons below."""
    return past_deadline(now) | attempts_exhausted(now)


def queued_too_long(now: Timestamp) -> Q:
    """Return the condition of an asynchronous generation whose first attempt did not start in time."""
    return Q(status=Status.QUEUED, attempt_count=0, queue_until__lt=now)


def past_deadline(now: Timestamp) -> Q:
    """Return the condition of an open generation whose deadline has passed."""
    return Q(status__in=OPEN_STATUSES, deadline_at__lt=now)


def attempts_exhausted(now: Timestamp) -> Q:
    """Return the condition of a generation whose worker died during the last attempt.

    One that is to be cancelled does not fail: its client asked for its end.
    """
    exhausted = Q(status=Status.RUNNING, lease_until__lt=now, attempt_count__gte=MAX_ATTEMPTS)
    return exhausted & Q(cancel_requested_at__isnull=True)
