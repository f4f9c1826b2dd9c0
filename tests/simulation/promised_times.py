"""Promised times of recovery, checked by the simulator's clock as soon as nothing goes wrong any more.

Without them a guard of speed could do nothing at all: other guards would end the work minutes later, and no money
would be wrong.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tests.simulation import painting
from tests.simulation.actors import Actor

MAX_ATTEMPTS: Final = 3
LEASE: Final = timedelta(seconds=30)
# The promises. A killed worker's generation is queued again within 40 seconds of the last renewal, which is 10 seconds
# after the lease. An overdue generation ends as soon. A lost message is sent again within 20 seconds.
AFTER_A_LEASE: Final = timedelta(seconds=10)
AFTER_A_DEADLINE: Final = timedelta(seconds=10)
BETWEEN_MESSAGES: Final = timedelta(seconds=20)
BETWEEN_RENEWALS: Final = timedelta(seconds=5)
# An idle worker that reached the database for 12 seconds takes the work of workers that were silent for as long.
SILENCE: Final = timedelta(seconds=12)
BETWEEN_POLLS: Final = timedelta(seconds=2)
# A worker that lives drops a cancelled generation at the next renewal, between two steps of the engine.
BETWEEN_STEPS: Final = timedelta(seconds=painting.STEP_SECONDS)
# Rounds take a moment themselves, in which other processes move.
ROUND: Final = timedelta(seconds=5)


class Holder(NamedTuple):
    """The owner of a lease that it still renews: its process's heart, and until when anything held up its work.

    That is the heart, or the thread of the attempt, which may stand still between its claim and the first renewal.
    """

    heart: Actor
    held_up_until: datetime


def find_late(
    rows: Iterable[Any],
    *,
    now: datetime,
    calm_since: datetime,
    sent_at: Mapping[int, datetime],
    holders: Mapping[Any, Holder],
    has_idle_worker: bool,
) -> Iterator[str]:
    """Yield what is late, with the name of the promise. `rows` are the generations as last committed."""
    for row in rows:
        if row.status == "queued":
            yield from _queued(row, now, calm_since, sent_at)
        elif row.status == "running" and row.cancel_requested_at:
            yield from _cancelled(row, now, calm_since, holders)
        elif row.status == "running":
            yield from _running(row, now, calm_since, has_idle_worker)
            yield from _held(row, now, calm_since, holders)


def _queued(row: Any, now: datetime, calm_since: datetime, sent_at: Mapping[int, datetime]) -> Iterator[str]:
    if now > max(row.deadline_at, calm_since) + AFTER_A_DEADLINE:
        yield "a queued generation is past its deadline and is not given up"
    if (
        row.is_async
        and row.attempt_count == 0
        and now > max(row.queue_until, row.not_before, calm_since) + AFTER_A_DEADLINE
    ):
        yield "a queued generation is past its time in the queue and is not cancelled"
    last_sent = max(row.not_before, calm_since, sent_at.get(row.id, calm_since))
    if now > last_sent + BETWEEN_MESSAGES + ROUND and row.deadline_at > now:
        yield "a queued generation is due and no message is sent for it"


def _running(row: Any, now: datetime, calm_since: datetime, has_idle_worker: bool) -> Iterator[str]:
    lease_over = now > max(row.lease_until, calm_since) + AFTER_A_LEASE
    if now > max(row.deadline_at, calm_since) + AFTER_A_DEADLINE:
        yield "a running generation is past its deadline and is not given up"
    elif row.attempt_count >= MAX_ATTEMPTS:
        if lease_over:
            yield "a generation has no worker and no attempt left and is not given up"
    elif lease_over:
        yield "a generation has no worker and is not rescued"
    elif has_idle_worker:
        silent_since = max(row.lease_until - LEASE, calm_since)
        if now > silent_since + SILENCE + BETWEEN_POLLS + ROUND:
            yield "a generation has a silent worker and is not rescued by an idle one"


def _cancelled(row: Any, now: datetime, calm_since: datetime, holders: Mapping[Any, Holder]) -> Iterator[str]:
    if now > max(row.lease_until, calm_since) + AFTER_A_LEASE:
        yield "a generation is to be cancelled and has no worker, and is not ended"
    if holder := holders.get(row.lease_token):
        last = max(row.cancel_requested_at, calm_since, holder.held_up_until)
        if now > last + BETWEEN_RENEWALS + BETWEEN_STEPS + ROUND:
            yield f"{holder.heart} lives and its attempt is to be cancelled and is not ended"
    yield from _held(row, now, calm_since, holders)


def _held(row: Any, now: datetime, calm_since: datetime, holders: Mapping[Any, Holder]) -> Iterator[str]:
    holder = holders.get(row.lease_token)
    if holder is None:
        return
    last = max(row.lease_until - LEASE, calm_since, holder.held_up_until)
    if now > last + BETWEEN_RENEWALS + ROUND:
        yield f"{holder.heart} lives and does not renew a lease"
