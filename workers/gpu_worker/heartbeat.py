"""The heartbeat, a thread that renews all leases of this worker and registers it as alive, every few seconds."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis
from django.db import DatabaseError, close_old_connections, connections

from storage.postgresql import time_limits
from workers import liveness
from workers.lifecycle import generations
from workers.messaging import background, worker_registry
from workers.messaging.worker_registry import Details

log = logging.getLogger(__name__)

# A lease lasts 30 s, so five renewals in a row may fail before it is lost.
INTERVAL_SECONDS = 5.0
# A silent connection is given up after this time, so that the leases are renewed in time over a new connection.
MAX_ANSWER_SECONDS = 5.0


class Heartbeat:
    """A thread that renews the leases which are added to it. Call `start` and `close` once each."""

    def __init__(
        self,
        *,
        worker_name: str,
        speed: Callable[[], float | None] = lambda: None,
        describe: Callable[[], Details | None] = lambda: None,
        before_beat: Callable[[], None] = lambda: None,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        """Create the thread without starting it.

        `speed` returns this worker's seconds per image, or None while they are unknown. `describe` returns the
        worker's details without its attempts, which the heartbeat adds. `before_beat` is called before each renewal,
        and ends the process of a worker that only looks alive.
        """
        self._worker_name = worker_name
        self._speed = speed
        self._describe = describe
        self._before_beat = before_beat
        self._claimed_at: float | None = None
        self._interval_seconds = interval_seconds
        self._lost: dict[uuid.UUID, threading.Event] = {}
        self._lock = threading.Lock()
        self._ended_count = 0
        self._closed = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(
            target=liveness.run_watched, args=(self._run,), name="heartbeat", daemon=True
        )

    def start(self) -> None:
        """Start the thread, which begins to beat."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and remove the worker from the registry."""
        self._closed.set()
        self._due.set()
        self._thread.join()
        try:
            worker_registry.remove(worker_name=self._worker_name)
        except redis.RedisError as error:
            log.warning("could not remove this worker from the registry: %s", error)

    def beat_soon(self) -> None:
        """Let the thread beat at once, because the worker's details have changed."""
        self._due.set()

    @property
    def lease_tokens(self) -> set[uuid.UUID]:
        """Tokens of the leases that are renewed at this moment, one for each running attempt."""
        with self._lock:
            return set(self._lost)

    @property
    def ended_count(self) -> int:
        """The number of attempts that have ended since the start, in any way."""
        with self._lock:
            return self._ended_count

    @contextmanager
    def keep_lease(self, lease_token: uuid.UUID) -> Iterator[threading.Event]:
        """Renew this lease while the block runs. The event is set once the attempt is not wanted any more."""
        lost = threading.Event()
        with self._lock:
            self._lost[lease_token] = lost
            self._claimed_at = time.time()
        try:
            yield lost
        finally:
            with self._lock:
                del self._lost[lease_token]
                self._ended_count += 1

    def beat(self) -> None:
        """Renew every lease in one statement, and register this worker as alive.

        An unavailable database or Redis is only logged. The leases outlive several beats, and the guard of the next
        transition finds a lost lease.
        """
        with self._lock:
            kept = dict(self._lost)
        try:
            with time_limits.waiting_at_most(seconds=MAX_ANSWER_SECONDS):
                lost = generations.renew(lease_tokens=kept.keys()) if kept else set()
            for lease_token in lost:
                kept[lease_token].set()
        except DatabaseError as error:
            log.warning("could not renew %d leases: %s", len(kept), error)
        try:
            self._publish(attempt_count=len(kept))
        except redis.RedisError as error:
            log.warning("could not register this worker as alive: %s", error)

    def _publish(self, *, attempt_count: int) -> None:
        details = self._describe()
        if details is not None:
            details = details._replace(attempt_count=attempt_count, claimed_at=self._claimed_at)
        worker_registry.publish(
            worker_name=self._worker_name, seconds_per_image=self._speed(), details=details
        )

    def _run(self) -> None:
        while not self._closed.is_set():
            background.survive(name="heartbeat", work=self._beat_in_thread)
            self._due.wait(self._interval_seconds)
            self._due.clear()
        connections.close_all()

    def _beat_in_thread(self) -> None:
        close_old_connections()
        self._before_beat()
        self.beat()
