"""Gathers orders from many threads into batches and hands them to the line. Knows no database and no pipeline."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from workers.engine.interface import DeviceLost, Engine, ImageOrder, Picture, StepCallback
from workers.engine.stage_executor import Batch, Job, StageExecutor

logger = logging.getLogger(__name__)

# While the device has nothing to do, an order waits for those alone that are known to be on their way, and so long at
# most. Four of 512 pixels together take 1.4 times what one does, but 2.4 times if the first goes ahead of the three; at
# 1024 pixels that makes 2 %. One that comes by itself waits for nobody: that others come by chance within 5 ms, often
# enough to pay for the wait, happens only where the device is busy anyway.
MAX_QUEUE_DELAY_SECONDS = 0.005
# A batch is closed this long before the device is thought to be free, beside the time that preparing it takes.
AHEAD_SECONDS = 0.02


class BatcherClosed(Exception):
    """The batcher takes no more orders."""


class Batcher:
    """The one way to an engine: `submit` from any thread; the oldest order goes first, with those that go with it.

    While the device is busy a batch gathers company, until it is full or must be prepared.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_queue_delay_seconds: float = MAX_QUEUE_DELAY_SECONDS,
        more_may_come: Callable[[], bool] = lambda: True,
        on_device_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the threads; the engine belongs to them until `close` has returned. `more_may_come` says whether the
        linger is worth while. `on_device_lost` is called once, from a thread of its own, when the engine has raised
        DeviceLost; the batcher is then drained.
        """
        self._engine = engine
        self._max_queue_delay_seconds = max_queue_delay_seconds
        self._more_may_come = more_may_come
        self._on_device_lost = on_device_lost
        self._waiting: deque[Job] = deque()
        self._in_flight: set[Batch] = set()
        self._changed = threading.Condition()
        self._closed = self._drained = self._lost = False
        self._executor = StageExecutor(
            engine, take=self._next_batch, may_begin=self._may_begin, on_end=self._batch_ended
        )
        self._executor.start()

    @property
    def seconds_per_image(self) -> float | None:
        """How long an image has taken lately; None until one was made."""
        return self._executor.seconds_per_image

    @property
    def busy_seconds(self) -> float:
        """How long the device has worked for this batcher in all."""
        return self._executor.busy_seconds

    def submit(self, order: ImageOrder, on_step: StepCallback | None = None) -> "Future[Picture]":
        """The picture to come, or the engine's exception. `on_step` is called from the gpu thread.

        The future can be cancelled until its batch starts. Raises BatcherClosed.
        """
        job = Job(order=order, on_step=on_step)
        with self._changed:
            if self._closed:
                raise BatcherClosed
            self._waiting.append(job)
            self._changed.notify_all()
        return job.future

    def drain(self) -> None:
        """Takes no more orders, and fails those that are not on the device yet by BatcherClosed. Twice is fine."""
        with self._changed:
            self._closed = self._drained = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            # One that was in a batch already is running and cannot be cancelled.
            if job.isolated or job.future.set_running_or_notify_cancel():
                job.future.set_exception(BatcherClosed())

    def close(self) -> None:
        """Takes no more orders, and returns when those taken have been made or have failed. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._executor.join()

    def _next_batch(self) -> Batch | None:
        """The oldest order with its company, once it is time; None once closed and nothing can come any more."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._is_over())
                if self._is_over():
                    return None
                self._wait_for_compatible()
                if batch := self._take_compatible():
                    self._in_flight.add(batch)
                    return batch

    def _is_over(self) -> bool:
        """A batch that is under way may still come back to be made one by one."""
        return self._closed and not self._waiting and not self._in_flight

    def _take_compatible(self) -> Batch | None:
        # While it waited for company, all may have been drained or cancelled.
        if not self._waiting:
            return None
        chosen = self._compatible()
        for job in chosen:
            self._waiting.remove(job)
        jobs = [job for job in chosen if job.isolated or job.future.set_running_or_notify_cancel()]
        return Batch(jobs=jobs) if jobs else None

    def _wait_for_compatible(self) -> None:
        """As long as the device is busy anyway, and for those on their way, within the linger, where it is not."""
        delay_until = time.monotonic() + self._max_queue_delay_seconds
        while not self._enough():
            until = self._executor.free_at - self._executor.prepare_seconds - AHEAD_SECONDS
            if self._more_may_come():
                until = max(until, delay_until)
            left_seconds = until - time.monotonic()
            if left_seconds <= 0:
                return
            self._changed.wait(left_seconds)

    def _enough(self) -> bool:
        if self._closed or not self._waiting:
            return True
        oldest = self._waiting[0]
        return self._key(oldest) is None or len(self._compatible()) >= self._engine.batch_limit

    def _compatible(self) -> list[Job]:
        oldest, *others = self._waiting
        key = self._key(oldest)
        if key is None:
            return [oldest]
        compatible = [oldest, *(job for job in others if self._key(job) == key)]
        return compatible[: self._engine.batch_limit]

    def _key(self, job: Job) -> object:
        return None if job.isolated else self._engine.batch_key(job.order)

    def _may_begin(self, batch: Batch) -> bool:
        with self._changed:
            if not self._drained:
                return True
            self._in_flight.discard(batch)
            self._changed.notify_all()
        _fail(batch, BatcherClosed())
        return False

    def _batch_ended(self, batch: Batch, problem: Exception | None) -> None:
        device_lost = isinstance(problem, DeviceLost)
        with self._changed:
            self._in_flight.discard(batch)
            if problem and len(batch.jobs) > 1 and not device_lost:
                # One poisoned order must not fail its neighbours: each of several is tried once more, alone.
                logger.warning("a batch of %d failed and is made one by one: %r", len(batch.jobs), problem)
                for job in reversed(batch.jobs):
                    job.isolated = True
                    self._waiting.appendleft(job)
                problem = None
            self._changed.notify_all()
        if problem:
            _fail(batch, problem)
        if device_lost:
            self._leave_lost_device()

    def _leave_lost_device(self) -> None:
        """What is at another stage still comes to its end there, good or bad."""
        self.drain()
        with self._changed:
            was_lost, self._lost = self._lost, True
        if not was_lost:
            # Not in this thread, which has batches to refuse.
            threading.Thread(target=self._on_device_lost, name="device-lost").start()


def _fail(batch: Batch, problem: Exception) -> None:
    for job in batch.jobs:
        if not job.future.done():
            job.future.set_exception(problem)
