"""The state of the service's parts, for /readyz, however many clients ask.

A part is checked once a second at most, and the list of workers ten times. Each check has a thread of its own, because
storage or a database that hangs keeps its caller for a long time.
"""

import logging
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Generic, TypeVar

import redis
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError, connection, connections

from workers.catalogue import catalogue
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection as broker

log = logging.getLogger(__name__)

T = TypeVar("T")
# The number of live workers by "models" and by "queues", and then by name. While workers load, their number by model is
# "loading", and the part that the first of them has loaded is "loading_fractions", where it is known. Empty while Redis
# is away.
Workers = dict[str, dict[str, Any]]

FRESH_SECONDS: Final = 1.0
# A list of workers costs one trip to Redis, and each start of a stack waits until its GPU worker is seen.
FRESH_WORKERS_SECONDS: Final = 0.1
# A part without an answer after this time does not work. Load balancers wait about as long.
PATIENCE_SECONDS: Final = 5.0


class SharedCheck(Generic[T]):
    """A check that runs at most once at a time, in a thread of its own, and whose result is shared for a while.

    The result is shared for FRESH_SECONDS, or for `shared_seconds` if that is less.
    """

    def __init__(
        self, check: Callable[[], T], *, without_answer: T, shared_seconds: float = math.inf
    ) -> None:
        self._check = check
        self._shared_seconds = shared_seconds
        self._without_answer = self._last = without_answer
        self._lock = threading.Lock()
        self._future: Future[T] | None = None
        self._started_at = self._ended_at = 0.0

    def start(self) -> "Future[T]":
        """Return the running check or a fresh result; else start a check. It never raises."""
        with self._lock:
            running = self._future
            if running and (not running.done() or self._is_fresh()):
                return running
            self._future, self._started_at = Future(), time.monotonic()
            # A daemon, so that a check that hangs does not keep a process that wants to end.
            threading.Thread(target=self._run, args=(self._future,), name="readiness", daemon=True).start()
            return self._future

    def wait_seconds(self) -> float:
        """Return how much longer the running check may take; 0 or less when its part does not answer."""
        return self._started_at + PATIENCE_SECONDS - time.monotonic()

    def result(self) -> T:
        """Return the last result without waiting, or the value of a part that does not answer."""
        with self._lock:
            is_overdue = self._future and not self._future.done() and self.wait_seconds() <= 0
            return self._without_answer if is_overdue else self._last

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._ended_at < min(FRESH_SECONDS, self._shared_seconds)

    def _run(self, future: "Future[T]") -> None:
        result = self._without_answer
        try:
            result = self._check()
        except (DatabaseError, redis.RedisError, OSError) as error:
            log.debug("A check failed: %s", error)
        except Exception:
            log.exception("A check ended unexpectedly.")
        finally:
            connections.close_all()
            self._last, self._ended_at = result, time.monotonic()
            future.set_result(result)


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def _store() -> bool:
    store = storages["objects"]
    name = store.save(f"readyz/{secrets.token_hex(8)}", ContentFile(b"ready"))
    store.delete(name)
    return True


def _workers() -> Workers:
    alive = worker_registry.list_alive()
    models = catalogue()
    consumed = [queue for worker in alive if worker.details for queue in worker.details.queues]
    return {
        "models": {name: sum(worker.makes(name) for worker in alive) for name in models},
        "queues": {model.queue: consumed.count(model.queue) for model in models.values()},
        **_loading(),
    }


def _loading() -> Workers:
    """Return the numbers and the progress of the workers that load, by model, or nothing while none does."""
    workers = [worker.details for worker in worker_registry.list_loading() if worker.details]
    counts = Counter(name for details in workers for name in details.loading)
    fractions: dict[str, float] = {}
    for details in workers:
        if (fraction := details.loading_fraction) is not None:
            fractions |= {name: max(fraction, fractions.get(name, 0.0)) for name in details.loading}
    told: Workers = {
        "loading": dict(sorted(counts.items())),
        "loading_fractions": dict(sorted(fractions.items())),
    }
    return {name: numbers for name, numbers in told.items() if numbers}


PARTS: Final = {
    "database": SharedCheck(_database, without_answer=False),
    "redis": SharedCheck(lambda: bool(broker().ping()), without_answer=False),
    "store": SharedCheck(_store, without_answer=False),
}
WORKERS: Final = SharedCheck[Workers](_workers, without_answer={}, shared_seconds=FRESH_WORKERS_SECONDS)
