"""What a worker does while it has room: it takes work straight from the table, and the sweep's and the purge's rounds.

So a message that was lost, a Redis that is away or a beat that stands still cost seconds of waiting and nothing else.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from django.db import close_old_connections, connections

from storage import images
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.lifecycle import generations, recovery
from workers.models import Generation

log = logging.getLogger(__name__)

# How often a worker with room looks into the table; a message that is younger than this may still come.
CLAIM_SECONDS = 2.0
# Rarer than beat's own rounds, which do the same.
SWEEP_SECONDS = 10.0
PURGE_SECONDS = 60.0
# One round of a purge: soon over, so that the next look into the table is not late.
MAX_PURGED_IMAGES = 200
# Two renewals of a lease. Whoever has reached the database for all that time takes a worker that has not for dead, and
# does not wait for the end of its leases, which is as late as it is for the sake of outages.
SILENCE_SECONDS = 12.0
# Two looks into the table, and a little.
PAUSE_SECONDS = 5.0


class DatabaseContact:
    """The time for which one thread has reached the database without a pause.

    A process that has not reached the database cannot tell a dead worker from one that did not reach it either.
    """

    def __init__(self, *, pause_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Count two answers that lie further apart than `pause_seconds` as a pause."""
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._since = self._last = clock()

    def record_answer(self) -> float:
        """Record that the database has answered just now, and return for how many seconds it has done so."""
        now = self._clock()
        if now - self._last > self._pause_seconds:
            self._since = now
        self._last = now
        return now - self._since


class IdlePoller:
    """A thread, and threads for the attempts that it starts; `start` and `close` it once."""

    def __init__(self, *, context: AttemptContext, capacity: int) -> None:
        """`capacity` is how many attempts the process may run at once, whoever started them."""
        self._context = context
        self._capacity = capacity
        self._closed = threading.Event()
        self._attempts = ThreadPoolExecutor(capacity, thread_name_prefix="idle")
        self._thread = threading.Thread(target=self._run, name="idle", daemon=True)

    def start(self) -> None:
        """Begins to look for work."""
        self._thread.start()

    def stop(self) -> None:
        """Takes nothing more; what was taken goes on. May be called twice, and from a signal's handler."""
        self._closed.set()

    def close(self) -> None:
        """Takes nothing more, and returns when what was taken has ended."""
        self.stop()
        self._thread.join()
        self._attempts.shutdown()

    def _run(self) -> None:
        sweep_at = purge_at = time.monotonic()
        contact = DatabaseContact(pause_seconds=PAUSE_SECONDS)
        while not self._closed.wait(CLAIM_SECONDS):
            room = self._room
            if room <= 0:
                continue
            close_old_connections()
            # In this order: what hung while the database did is followed by no rescue, but by others' renewals.
            if _try(partial(self._claim, room)) and contact.record_answer() >= SILENCE_SECONDS:
                _try(self._rescue)
            if time.monotonic() >= sweep_at:
                sweep_at = time.monotonic() + SWEEP_SECONDS
                _try(recovery.sweep)
            if time.monotonic() >= purge_at:
                purge_at = time.monotonic() + PURGE_SECONDS
                _try(partial(images.purge, limit=MAX_PURGED_IMAGES))
        connections.close_all()

    @property
    def _room(self) -> int:
        return self._capacity - len(self._context.heartbeat.lease_tokens)

    def _rescue(self) -> None:
        """Takes back what silent workers have, and claims what there is room for; the sweep hints at the rest."""
        if recovery.rescue(limit=recovery.MAX_ROWS_PER_SWEEP, silence_seconds=SILENCE_SECONDS):
            self._claim(self._room)

    def _claim(self, room: int) -> None:
        with suppress(generations.NotClaimable):
            for _ in range(room):
                claimed = generations.claim_next(models=self._context.models)
                self._attempts.submit(self._attempt, claimed)

    def _attempt(self, generation: Generation) -> None:
        _try(partial(attempt.carry_out, generation=generation, context=self._context))
        # These threads seldom have work, and messages' threads have a connection each already.
        connections.close_all()


def _try(work: Callable[[], object]) -> bool:
    try:
        work()
        return True
    except Exception:
        # The database or the store is away, or something is wrong with one row. This thread is the last that finds
        # work when all else fails, so it must live; its next round tries again.
        log.exception("a round of an idle worker failed")
        return False
