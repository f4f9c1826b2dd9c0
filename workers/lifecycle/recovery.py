"""Finds what is stuck and moves it on: gives up, rescues from dead workers, and sends lost messages again.

Any number of sweeps may run at once; each transition is guarded, so at most one of them makes it.
"""

import logging
from operator import attrgetter
from typing import NamedTuple

from django.db.models.functions import Now

from storage import failpoints
from workers.gpu_worker.attempt import FAILED
from workers.lifecycle import eligibility, error_codes, generations, idempotency, stuck
from workers.messaging import enqueue
from workers.models import Generation
from workers.moments import Moment

log = logging.getLogger(__name__)

# How many rows of a kind one sweep takes on; the next one, seconds later, takes the rest.
MAX_ROWS_PER_SWEEP = 500
# A queued row whose message was sent longer ago than this may have lost it.
HINT_INTERVAL_SECONDS = 15


class Swept(NamedTuple):
    """How many generations a sweep gave up, took back from dead workers, and hinted at again."""

    given_up: int
    rescued: int
    hinted: int


def run(*, now: Moment = Now()) -> Swept:
    """One sweep over all that is open."""
    given_up = _give_up(now)
    rescued = stuck.rescue(limit=MAX_ROWS_PER_SWEEP, now=now)
    failpoints.reach("rescued")
    due = stuck.take_due_hints(limit=MAX_ROWS_PER_SWEEP, interval_seconds=HINT_INTERVAL_SECONDS, now=now)
    for generation_id in due:
        enqueue.send(generation_id=generation_id)
    idempotency.forget(limit=MAX_ROWS_PER_SWEEP, now=now)
    return Swept(given_up=given_up, rescued=len(rescued), hinted=len(due))


def _give_up(now: Moment) -> int:
    count = 0
    past = Generation.objects.filter(eligibility.past_deadline(now)).order_by("deadline_at")[
        :MAX_ROWS_PER_SWEEP
    ]
    spent = Generation.objects.filter(eligibility.attempts_exhausted(now)).order_by("lease_until")[
        :MAX_ROWS_PER_SWEEP
    ]
    # What has the same deadline or lease comes in any order.
    for generation in sorted({*past, *spent}, key=attrgetter("pk")):
        code = error_codes.new_code(error_type=FAILED)
        if generations.give_up(generation=generation, error_type=FAILED, error_code=code, now=now):
            log.error("%s generation %s: given up", code, generation.pk)
            count += 1
    return count
