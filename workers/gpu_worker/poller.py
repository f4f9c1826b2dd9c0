"""The idle poller of a worker with room, which claims work from the table, sweeps and purges.

A lost message, a consumer that gets none, an unavailable Redis or a stopped Celery beat therefore costs only seconds of
waiting.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from django.db import close_old_connections, connections

from storage import images
from storage.postgresql.availability import UNAVAILABLE
from workers import liveness
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.lifecycle import generations, recovery
from workers.messaging import background
from workers.models import Generation

log = logging.getLogger(__name__)

# The mean interval at which a worker with room reads the table, whether Redis answers or not: a consumer can be deaf
# while everything else reaches Redis. The message of a younger generation may still arrive.
CLAIM_SECONDS = 2.0
# Workers that were started together spread their reads over the interval within a minute.
CLAIM_SPREAD = 0.2
# Less often than the rounds of Celery beat, which do the same work.
SWEEP_SECONDS = 10.0
PURGE_SECONDS = 60.0
# One round of a purge is short, so that it does not delay the next read of the table.
MAX_PURGED_IMAGES = 200
# Two renewals of a lease. A process that reached the database for this long presumes a worker dead that did not renew.
# It does not wait for the leases to end, because their length allows for outages of the database.
SILENCE_SECONDS = 12.0
# A little more than two reads of the table.
PAUSE_SECONDS = 5.0


class DatabaseContact:
    """The time for which one thread has reached the database without a pause.

    A process without the database cannot tell a dead worker from one that did not reach the database either.
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
    """A thread that polls, and threads for the attempts that it starts. Call `start` and `close` once each."""

    def __init__(self, *, context: AttemptContext, capacity: int) -> None:
        """Create the threads without starting them.

        `capacity` is the maximum number of attempts that run in the process at once, whether the poller or a message
        started them.
        """
        self._context = context
        self._capacity = capacity
        self._closed = threading.Event()
        self._contact = DatabaseContact(pause_seconds=PAUSE_SECONDS)
        self._sweep_at = self._purge_at = time.monotonic()
        self._attempts = ThreadPoolExecutor(capacity, thread_name_prefix="idle")
        self._thread = threading.Thread(
            target=liveness.run_watched, args=(self._run,), name="idle", daemon=True
        )

    def start(self) -> None:
        """Start the thread, which begins to look for work."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more. Running attempts go on.

        It may be called twice, and from the handler of a signal.
        """
        self._closed.set()

    def close(self) -> None:
        """Claim nothing more, and return when the running attempts have ended."""
        self.stop()
        self._thread.join()
        self._attempts.shutdown()

    def _run(self) -> None:
        while not self._closed.wait(_draw_pause_seconds()):
            _try(self._poll)
        connections.close_all()

    def _poll(self) -> None:
        room = self._room
        if room <= 0:
            return
        close_old_connections()
        # The claim comes first. If it hung with the database, no rescue follows until other workers could renew.
        if _try(partial(self._claim, room)) and self._contact.record_answer() >= SILENCE_SECONDS:
            _try(self._rescue)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_SECONDS
            _try(recovery.sweep)
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + PURGE_SECONDS
            _try(partial(images.purge, limit=MAX_PURGED_IMAGES))

    @property
    def _room(self) -> int:
        return self._capacity - len(self._context.heartbeat.lease_tokens)

    def _rescue(self) -> None:
        """Requeue the generations of silent workers, and claim as many as there is room for.

        The sweep sends hints for the rest.
        """
        if recovery.rescue(limit=recovery.MAX_ROWS_PER_SWEEP, silence_seconds=SILENCE_SECONDS):
            self._claim(self._room)

    def _claim(self, room: int) -> None:
        with suppress(generations.NotClaimable):
            for _ in range(room):
                claimed = generations.claim_next(models=self._context.models)
                self._attempts.submit(self._attempt, claimed)

    def _attempt(self, generation: Generation) -> None:
        _try(partial(attempt.carry_out, generation=generation, context=self._context))
        # These threads seldom have work, and each thread that serves messages already has a connection.
        connections.close_all()


def _draw_pause_seconds() -> float:
    return CLAIM_SECONDS * random.uniform(1 - CLAIM_SPREAD, 1 + CLAIM_SPREAD)  # noqa: S311 (no secret)


def _try(work: Callable[[], object]) -> bool:
    """Run a part of a round, and return whether it ended without an error.

    This thread finds work when everything else fails, so it must survive. Its next round tries again.
    """
    try:
        work()
    except UNAVAILABLE as error:
        # The process logs once that PostgreSQL is away.
        log.debug("a round of the idle poller did not reach PostgreSQL: %s", error)
        return False
    except BaseException as error:  # noqa: BLE001 (the object store is unavailable, or one row is faulty)
        background.note(name="idle poller", error=error)
        return False
    return True
