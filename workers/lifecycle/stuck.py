"""The writes to generations that nobody brings on: taken back from silent workers, and hinted at again.

For the sweep and for idle hands. All else is written by workers/lifecycle/generations.py.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from workers.lifecycle.generations import LEASE_SECONDS
from workers.lifecycle.transitions import lock_some, move_all
from workers.models import MAX_ATTEMPTS, Generation, Status
from workers.moments import Moment


def rescue(*, limit: int, silence_seconds: float = LEASE_SECONDS, now: Moment = Now()) -> Sequence[int]:
    """running → queued for at most `limit` whose lease was not renewed for so long, its whole length unless the caller
    knows better, and that have an attempt left; returns their ids."""
    silent = Q(
        status=Status.RUNNING, lease_until__lt=now + timedelta(seconds=LEASE_SECONDS - silence_seconds)
    )
    abandoned = silent & Q(attempt_count__lt=MAX_ATTEMPTS, deadline_at__gt=now)
    with transaction.atomic():
        ids = lock_some(abandoned, limit, first="lease_until")
        move_all(Q(pk__in=ids), Status.RUNNING, Status.QUEUED, not_before=now, hinted_at=None)
    return ids


def take_due_hints(*, limit: int, interval_seconds: float, now: Moment = Now()) -> Sequence[int]:
    """Marks at most `limit` queued rows, whose last hint is too old or absent, as hinted now; returns their ids."""
    due = Q(status=Status.QUEUED, not_before__lte=now, deadline_at__gt=now)
    stale = Q(hinted_at__lt=now - timedelta(seconds=interval_seconds))
    with transaction.atomic():
        # One after the other, as each is a piece of the index: together they would be the whole queue.
        ids = list(lock_some(due & Q(hinted_at__isnull=True), limit, first="hinted_at"))
        ids += lock_some(due & stale, limit - len(ids), first="hinted_at")
        Generation.objects.filter(pk__in=ids).update(hinted_at=now)
    return ids
