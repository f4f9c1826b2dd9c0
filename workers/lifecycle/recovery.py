"""Recovery of abandoned generations: give up the overdue, requeue those of dead workers, send lost messages again.

Sweeps and idle workers may recover at the same time, because each transition is guarded and happens at most once.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from storage import failpoints
from workers.lifecycle import cancellation, eligibility, erasure, error_codes, generations, idempotency
from workers.lifecycle.attempt_statements import LEASE_SECONDS
from workers.lifecycle.transitions import lock_some, move_all
from workers.messaging import enqueue
from workers.models import GENERATION_FAILED, MAX_ATTEMPTS, Generation, Status, Timestamp

log = logging.getLogger(__name__)

# One sweep takes this many rows of each kind; the next one, seconds later, takes the rest.
MAX_ROWS_PER_SWEEP: Final = 500
# A queued row whose message was sent longer ago than this may have lost it.
HINT_INTERVAL_SECONDS: Final = 15


class Swept(NamedTuple):
    """The numbers of generations that one sweep gave up, requeued from dead workers, and sent messages for again."""

    given_up: int
    rescued: int
    hinted: int


def sweep(*, now: Timestamp = Now()) -> Swept:
    """Recover a batch of everything that is open, and forget a batch of old keys and prompts.

    The function may be called any number of times, also at once.
    """
    given_up = _give_up(now)
    rescued = rescue(limit=MAX_ROWS_PER_SWEEP, now=now)
    failpoints.reach("rescued")
    due = take_due_hints(limit=MAX_ROWS_PER_SWEEP, interval_seconds=HINT_INTERVAL_SECONDS, now=now)
    for generation_id in due:
        enqueue.send(generation_id=generation_id)
    cancellation.end_abandoned(limit=MAX_ROWS_PER_SWEEP, now=now)
    cancellation.end_queued_too_long(limit=MAX_ROWS_PER_SWEEP, now=now)
    idempotency.forget(limit=MAX_ROWS_PER_SWEEP, now=now)
    erasure.erase_old(limit=MAX_ROWS_PER_SWEEP, now=now)
    return Swept(given_up=given_up, rescued=len(rescued), hinted=len(due))


def rescue(*, limit: int, silence_seconds: float = LEASE_SECONDS, now: Timestamp = Now()) -> Sequence[int]:
    """Move running → queued at most `limit` generations of silent workers, and return their ids.

    A worker is silent when it has not renewed its lease for `silence_seconds`, by default the whole length of a lease.
    Generations without an attempt left, or past their deadline, stay for `sweep` to give up.
    """
    silent = Q(
        status=Status.RUNNING, lease_until__lt=now + timedelta(seconds=LEASE_SECONDS - silence_seconds)
    )
    wanted = Q(attempt_count__lt=MAX_ATTEMPTS, deadline_at__gt=now, cancel_requested_at__isnull=True)
    with transaction.atomic():
        ids = lock_some(silent & wanted, limit, first="lease_until")
        move_all(Q(pk__in=ids), Status.RUNNING, Status.QUEUED, not_before=now, hinted_at=None)
    return ids


def take_due_hints(*, limit: int, interval_seconds: float, now: Timestamp = Now()) -> Sequence[int]:
    """Mark as hinted now at most `limit` queued rows whose last message is too old or absent, and return their ids."""
    due = Q(status=Status.QUEUED, not_before__lte=now, deadline_at__gt=now)
    stale = Q(hinted_at__lt=now - timedelta(seconds=interval_seconds))
    with transaction.atomic():
        # Two queries, because each condition is a piece of the index: together they would read the whole queue.
        ids = list(lock_some(due & Q(hinted_at__isnull=True), limit, first="hinted_at"))
        ids += lock_some(due & stale, limit - len(ids), first="hinted_at")
        Generation.objects.filter(pk__in=ids).update(hinted_at=now)
    return ids


def _give_up(now: Timestamp) -> int:
    count = 0
    past = Generation.objects.filter(eligibility.past_deadline(now)).order_by("deadline_at")[
        :MAX_ROWS_PER_SWEEP
    ]
    exhausted = Generation.objects.filter(eligibility.attempts_exhausted(now)).order_by("lease_until")[
        :MAX_ROWS_PER_SWEEP
    ]
    # The id decides the order of generations that have the same deadline or lease.
    for generation in sorted({*past, *exhausted}, key=attrgetter("pk")):
        code = error_codes.new_code(error_type=GENERATION_FAILED)
        if generations.give_up(generation=generation, error_type=GENERATION_FAILED, error_code=code, now=now):
            log.error("%s generation %s: overdue and given up", code, generation.pk)
            count += 1
    return count
