"""The batcher, which gathers orders from many threads into batches for the stage executor.

It knows no database and no pipeline.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from workers.engine.batch_costs import BatchCosts
from workers.engine.interface import (
    DeviceLost,
    Engine,
    ImageOrder,
    OrderDropped,
    OutOfDeviceMemory,
    Picture,
    StepCallback,
)
from workers.engine.stage_executor import Batch, Job, OnStage, StageExecutor

log = logging.getLogger(__name__)

# While the device is idle, an order waits at most this long, and only for orders that are known to be on their way and
# with which it would share a batch. A single order does not wait, because other orders come by chance within 5 ms often
# enough to pay for the wait only where the device is busy anyway.
MAX_QUEUE_DELAY_SECONDS = 0.005
# A batch is closed this long before the device is expected to be free, in addition to the time for its preparation.
AHEAD_SECONDS = 0.02
# A stage that takes longer than both is taken for one that never ends.
MIN_HANG_SECONDS = 60.0
HANG_PREDICTIONS = 20
# The limit for a worker that has not made a picture yet and has no prediction.
FIRST_HANG_SECONDS = 600.0


class BatcherClosed(Exception):
    """The batcher takes no more orders."""


class Batcher:
    """The only access to an engine, with `submit` for any thread.

    The oldest order goes first, together with the orders that are compatible with it. While the device is busy, a
    batch gathers compatible orders until it is full or must be prepared.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_queue_delay_seconds: float = MAX_QUEUE_DELAY_SECONDS,
        more_may_come: Callable[[], bool] = lambda: True,
        on_device_lost: Callable[[], None] = lambda: None,
        on_broken: Callable[[], None] = lambda: None,
        on_stage: OnStage = lambda *_: None,
    ) -> None:
        """Start the threads, which own the engine until `close` has returned.

        `more_may_come` tells whether the queue delay is worth while. One of the last two is called once, from its own
        thread: `on_device_lost` after the engine has raised DeviceLost, and `on_broken` after an unexpected error has
        ended one of the batcher's threads. The batcher takes no more orders then. `on_stage` is told of each stage.
        """
        self._engine = engine
        self._max_queue_delay_seconds = max_queue_delay_seconds
        self._more_may_come = more_may_come
        self._on_device_lost = on_device_lost
        self._on_broken = on_broken
        self._costs = BatchCosts()
        self._waiting: deque[Job] = deque()
        self._in_flight: set[Batch] = set()
        self._changed = threading.Condition()
        self._closed = self._drained = self._lost = False
        self._executor = StageExecutor(
            engine,
            take=self._next_batch,
            may_begin=self._may_begin,
            on_end=self._end_batch,
            on_broken=self._break,
            on_stage=on_stage,
        )
        self._executor.start()

    @property
    def seconds_per_image(self) -> float | None:
        """Smoothed time of the device per image, or None before the first image."""
        return self._executor.seconds_per_image

    @property
    def busy_seconds(self) -> float:
        """Total time that the device has worked for this batcher."""
        return self._executor.busy_seconds

    @property
    def is_hanging(self) -> bool:
        """Return whether the device has batches, and no stage has gone on for far longer than one picture takes."""
        with self._changed:
            orders = sum(len(batch.jobs) for batch in self._in_flight)
        each = self._executor.seconds_per_image
        limit = (
            FIRST_HANG_SECONDS if each is None else max(MIN_HANG_SECONDS, HANG_PREDICTIONS * each * orders)
        )
        return orders > 0 and time.monotonic() - self._executor.progressed_at > limit

    def submit(self, order: ImageOrder, on_step: StepCallback | None = None) -> "Future[Picture]":
        """Queue the order and return the future of its picture, or of the engine's exception.

        `on_step` is called from the gpu thread. The future can be cancelled until its batch starts. Raise
        BatcherClosed after `drain` or `close`.
        """
        job = Job(order=order, on_step=on_step)
        try:
            # An order for which the engine has no key must fail alone, and not in the thread that serves all orders.
            job.batch_key = self._engine.batch_key(order)
            job.batch_limit = self._limit_batch(order)
        except Exception as error:  # noqa: BLE001 (the error belongs to the caller)
            job.future.set_exception(error)
            return job.future
        with self._changed:
            if self._closed:
                raise BatcherClosed
            self._waiting.append(job)
            self._changed.notify_all()
        return job.future

    def drain(self) -> None:
        """Refuse new orders, and fail each order that is not on the device yet with BatcherClosed.

        It may be called twice.
        """
        with self._changed:
            self._closed = self._drained = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            # The future of an isolated job is running since its first batch and cannot be cancelled.
            if job.isolated or job.future.set_running_or_notify_cancel():
                job.future.set_exception(BatcherClosed())

    def close(self) -> None:
        """Refuse new orders, and return when all accepted orders are made or have failed.

        It may be called twice.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._executor.join()

    def _next_batch(self) -> Batch | None:
        """Return the oldest order with its compatible orders, as soon as it must be prepared.

        Return None when the batcher is closed and no order can come back any more.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._is_over())
                if self._is_over():
                    return None
                self._wait_for_more()
                if batch := self._take_batch():
                    self._executor.note_progress()
                    self._in_flight.add(batch)
                    return batch

    def _is_over(self) -> bool:
        """Return whether no order can come any more.

        The orders of a batch in flight may still come back to be made one by one.
        """
        return self._closed and not self._waiting and not self._in_flight

    def _take_batch(self) -> Batch | None:
        self._drop_unwanted()
        # All orders may have been drained or cancelled during the wait for compatible ones.
        if not self._waiting:
            return None
        compatible = self._find_compatible()
        key = self._batch_key(compatible[0])
        chosen = compatible[: self._costs.choose_size(key, available=len(compatible))]
        for job in chosen:
            self._waiting.remove(job)
        jobs = [job for job in chosen if job.isolated or job.future.set_running_or_notify_cancel()]
        return Batch(jobs=jobs) if jobs else None

    def _drop_unwanted(self) -> None:
        unwanted = [job for job in self._waiting if job.order.is_unwanted()]
        for job in unwanted:
            self._waiting.remove(job)
        _fail(Batch(jobs=unwanted), OrderDropped())

    def _wait_for_more(self) -> None:
        """Wait while the device is busy anyway, and otherwise within the queue delay for orders on their way."""
        delay_until = time.monotonic() + self._max_queue_delay_seconds
        while not self._is_complete():
            until = self._executor.free_at - self._executor.prepare_seconds - AHEAD_SECONDS
            if self._more_may_come() and self._costs.is_worth_waiting(self._batch_key(self._waiting[0])):
                until = max(until, delay_until)
            left_seconds = until - time.monotonic()
            if left_seconds <= 0:
                return
            self._changed.wait(left_seconds)

    def _is_complete(self) -> bool:
        """Return whether the next batch would gain nothing from further waiting."""
        if self._closed or not self._waiting:
            return True
        oldest = self._waiting[0]
        return self._batch_key(oldest) is None or len(self._find_compatible()) >= oldest.batch_limit

    def _find_compatible(self) -> list[Job]:
        oldest, *others = self._waiting
        key = self._batch_key(oldest)
        if key is None:
            return [oldest]
        compatible = [oldest, *(job for job in others if self._batch_key(job) == key)]
        return compatible[: oldest.batch_limit]

    def _batch_key(self, job: Job) -> object:
        return None if job.isolated else job.batch_key

    def _limit_batch(self, order: ImageOrder) -> int:
        # An engine from outside the project need not tell sizes apart.
        limit_batch = getattr(self._engine, "limit_batch", None)
        limit: int = self._engine.batch_limit if limit_batch is None else limit_batch(order)
        return limit

    def _may_begin(self, batch: Batch) -> bool:
        with self._changed:
            if not self._drained:
                return True
            self._in_flight.discard(batch)
            self._changed.notify_all()
        _fail(batch, BatcherClosed())
        return False

    def _end_batch(self, batch: Batch, error: Exception | None) -> None:
        device_lost = isinstance(error, DeviceLost)
        with self._changed:
            self._in_flight.discard(batch)
            key = self._batch_key(batch.jobs[0])
            if error is None and key is not None:
                self._costs.add(key, size=len(batch.jobs), seconds=batch.device_seconds)
            if error and _is_worth_retrying(batch, error):
                # One poisoned order must not fail its neighbours, so each order is retried once, isolated. An order
                # that found no memory may fit while the device has no other.
                log.warning(
                    "a batch of %d orders failed; each is retried in isolation: %r", len(batch.jobs), error
                )
                for job in reversed(batch.jobs):
                    job.isolated = True
                    self._waiting.appendleft(job)
                error = None
            self._changed.notify_all()
        if error:
            _fail(batch, error)
        if device_lost:
            self._leave_lost_device()

    def _leave_lost_device(self) -> None:
        """Drain the batcher and report the loss once. Batches at other stages still come to their end there."""
        self.drain()
        self._report(self._on_device_lost)

    def _break(self, error: Exception) -> None:
        """Fail every order with this error, and report it once.

        The error counts as an attempt of each generation. If one order breaks each worker that takes it, it must not be
        taken for ever.
        """
        with self._changed:
            self._closed = self._drained = True
            batches = [*self._in_flight, Batch(jobs=list(self._waiting))]
            self._in_flight.clear()
            self._waiting.clear()
            self._changed.notify_all()
        for batch in batches:
            _fail(batch, error)
        self._report(self._on_broken)

    def _report(self, callback: Callable[[], None]) -> None:
        with self._changed:
            was_lost, self._lost = self._lost, True
        if not was_lost:
            # The current thread is needed to refuse batches.
            threading.Thread(target=callback, name="batcher-lost").start()


def _is_worth_retrying(batch: Batch, error: Exception) -> bool:
    if isinstance(error, DeviceLost | OrderDropped):
        return False
    return len(batch.jobs) > 1 or (isinstance(error, OutOfDeviceMemory) and not batch.jobs[0].isolated)


def _fail(batch: Batch, error: Exception) -> None:
    for job in batch.jobs:
        # A cancelled order stays cancelled, and of two threads that end an order the first one decides.
        with suppress(InvalidStateError):
            job.future.set_exception(error)
