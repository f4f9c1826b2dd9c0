"""Readings of the live workers and of the number of open generations, shared by the threads of a process.

They are for predictions. Money, claims and transitions never depend on them.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

from workers.lifecycle import queries
from workers.messaging import worker_registry
from workers.messaging.worker_registry import Worker

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
# Nothing is refused by a count that is older than this.
RECOUNT_SECONDS: Final = 0.1


class SharedReading(Generic[T]):
    """A value that one thread at a time reads anew, once it is older than FRESH_SECONDS.

    The other threads take the last value meanwhile, so none waits for another. A thread to which the last value is of
    no use reads for itself, as does each before the first value.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._value: T | None = None
        self._read_at = 0.0
        self._is_being_read = False

    def get(
        self,
        read: Callable[[], T],
        *,
        is_useful: Callable[[T], bool] = lambda _: True,
        max_age_seconds: float | None = None,
    ) -> T:
        """Return the last value or what `read` returns now. Raise the exceptions of `read`.

        With `max_age_seconds` the value is at most as old, also while another thread reads.
        """
        with self._lock:
            now, value = self._clock(), self._value
            if max_age_seconds is None:
                is_recent = self._is_being_read or now - self._read_at < FRESH_SECONDS
            else:
                is_recent = now - self._read_at < max_age_seconds
            if value is not None and is_recent and is_useful(value):
                return value
            self._is_being_read = True
        try:
            value = read()
            with self._lock:
                self._value, self._read_at = value, now
        finally:
            self._is_being_read = False
        return value


class _Count(NamedTuple):
    open_count: int
    admitted_before: int


class QueueReadings:
    """The live workers, and the open generations of each model plus those admitted here since they were counted.

    A burst in this process therefore counts itself. The admissions of other processes are missing for up to
    FRESH_SECONDS, as is the end of any generation. Before a request is refused, they are counted again.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers: SharedReading[Sequence[Worker]] = SharedReading(clock=clock)
        self._counts: defaultdict[str | None, SharedReading[_Count]] = defaultdict(
            partial(SharedReading, clock=clock)
        )
        self._lock = threading.Lock()
        self._admitted: Counter[str | None] = Counter()

    def list_able(self, model_name: str) -> list[Worker]:
        """Return the live workers that have the model. Raise redis.RedisError.

        The first of them is seen at once, because nothing is refused on an old list without one.
        """

        def list_among(alive: Sequence[Worker]) -> list[Worker]:
            return [worker for worker in alive if worker.makes(model_name)]

        alive = self._workers.get(worker_registry.list_alive, is_useful=lambda alive: bool(list_among(alive)))
        return list_among(alive)

    def count_open(self, model: str | None, *, most: int, max_age_seconds: float | None = None) -> int:
        """Return the number of open generations of the model, or of all models, counted no further than `most`."""
        count = self._counts[model].get(partial(self._count, model, most), max_age_seconds=max_age_seconds)
        return min(most, count.open_count + self._admitted[model] - count.admitted_before)

    def note_admission(self, model: str | None, *, image_count: int = 1) -> None:
        """Count so many more generations of the model, which are not in the last count yet."""
        with self._lock:
            self._admitted[model] += image_count

    def _count(self, model: str | None, most: int) -> _Count:
        # An admission during the query may be missing in its result, so it still counts by itself.
        admitted_before = self._admitted[model]
        return _Count(queries.count_open(most=most, model=model), admitted_before)
