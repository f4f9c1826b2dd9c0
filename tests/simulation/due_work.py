"""Rounds of recovery that could find work, once nothing goes wrong any more.

A sweep costs more than all else in a scenario, and most sweeps of the quiet would find nothing. They are left out with
a margin, in which a sweep that acts too early is still seen. Were this wrong, a promised time would pass and be seen.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from tests.simulation.promised_times import LEASE, SILENCE

MARGIN: Final = timedelta(seconds=6)
# The sweep sends a message again for a row whose last one is 15 seconds old.
BETWEEN_MESSAGES: Final = timedelta(seconds=15)


def may_be_swept(rows: Iterable[Any], *, now: datetime, sent_at: Mapping[int, datetime]) -> bool:
    """Return whether a sweep could give up, requeue, cancel or send a message for one of these rows."""
    return any(_is_due(row, now + MARGIN, sent_at) for row in rows)


def may_be_rescued(rows: Iterable[Any], *, now: datetime) -> bool:
    """Return whether an idle worker could take one of these rows from a silent worker."""
    return any(row.status == "running" and row.lease_until - LEASE + SILENCE < now + MARGIN for row in rows)


def _is_due(row: Any, now: datetime, sent_at: Mapping[int, datetime]) -> bool:
    if row.status == "running":
        return bool(min(row.lease_until, row.deadline_at) < now)
    if row.status != "queued":
        return False
    is_hinted = row.id in sent_at and sent_at[row.id] + BETWEEN_MESSAGES > now
    is_overdue = row.deadline_at < now or (row.is_async and row.queue_until < now)
    return bool(is_overdue or (row.not_before < now and not is_hinted))
