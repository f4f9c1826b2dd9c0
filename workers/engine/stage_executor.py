"""The stage executor, which runs batches through the three stages of an engine, one thread for each stage.

While one batch is denoised, the next is prepared and the previous one is decoded, so the device need not wait. The
module does not know how a batch is chosen.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any

from workers import liveness
from workers.engine.interface import (
    BadOutput,
    Engine,
    ImageOrder,
    OrderDropped,
    Picture,
    SomeOrdersFailed,
    StepCallback,
)

log = logging.getLogger(__name__)

# A callback for each stage that succeeded, with its name, the orders of its batch and its seconds.
OnStage = Callable[[str, Sequence[ImageOrder], float], None]

# The weight of one measurement in the moving average, so that one unusual picture hardly changes the prediction.
WEIGHT = 0.2


@dataclass(kw_only=True, eq=False)
class Job:
    """An order and the future of its picture. `isolated` is set after a batch with this job has failed.

    `batch_key` is the engine's key of the order, and `batch_limit` how many such orders may share a batch.
    """

    order: ImageOrder
    batch_key: Hashable = None
    batch_limit: int = 1
    on_step: StepCallback | None = None
    future: Future[Picture] = field(default_factory=Future)
    isolated: bool = False


@dataclass(kw_only=True, eq=False)
class Batch:
    """Jobs that are made together, and the result of their last stage."""

    jobs: list[Job]
    value: Any = None
    denoised_from: float = 0.0
    # The time for which the device had this batch and no earlier one.
    device_seconds: float = 0.0

    @property
    def orders(self) -> list[ImageOrder]:
        """Return the orders of the jobs."""
        return [job.order for job in self.jobs]


class StageExecutor:
    """Three threads, "prepare", "gpu" and "decode", which end when `take` returns None."""

    def __init__(
        self,
        engine: Engine,
        *,
        take: Callable[[], Batch | None],
        may_begin: Callable[[Batch], bool],
        on_end: Callable[[Batch, Exception | None], None],
        on_broken: Callable[[Exception], None],
        on_stage: OnStage = lambda *_: None,
    ) -> None:
        """Create the threads without starting them.

        `take` waits for the next batch. `may_begin` is asked once a batch is prepared, and a refused batch is dropped.
        `on_end` is called once for each other batch, from any of the threads. Its error is None after the pictures are
        delivered. `on_broken` is called when an unexpected error, which is no engine's, ends a thread. All threads end
        after that. `on_stage` is called after each stage, in its thread.
        """
        self._engine = engine
        self._take = take
        self._may_begin = may_begin
        self._on_end = on_end
        self._on_broken = on_broken
        self._on_stage = on_stage
        self._is_broken = False
        self._prepared: SimpleQueue[Batch | None] = SimpleQueue()
        self._denoised: SimpleQueue[Batch | None] = SimpleQueue()
        # One batch is prepared ahead of the denoised one, and one is decoded. More batches would only hold memory.
        self._prepare_slots = threading.Semaphore(1)
        self._decode_slots = threading.Semaphore(2)
        self._ended_at = 0.0
        self._held_seconds = 0.0
        # The orders that the device has begun and not ended, as the gpu thread and the decode thread count them.
        self._begun_count = self._ended_count = 0
        # The last time that a batch was taken, or that a stage began, went on a step or ended, on the monotonic clock.
        self.progressed_at = time.monotonic()
        self.prepare_seconds = 0.0
        self.seconds_per_image: float | None = None
        self.free_at = 0.0
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("prepare", self._prepare), ("gpu", self._denoise), ("decode", self._decode))
        ]

    @property
    def busy_seconds(self) -> float:
        """Total time that the device has worked, as the engine reports it.

        For an engine that reports none, it is the total time during which the device had batches.
        """
        told: float | None = getattr(self._engine, "busy_seconds", None)
        return self._held_seconds if told is None else told

    def start(self) -> None:
        """Start the threads, which begin to take batches."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until the last batch has ended, after `take` has returned None."""
        for thread in self._threads:
            thread.join()

    def note_progress(self) -> None:
        """Set the time of the last progress to now."""
        self.progressed_at = time.monotonic()

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread's work. A stage without its thread would accept batches and never end them."""
        try:
            liveness.run_watched(work)
        except Exception as error:
            log.critical("the thread %s broke", threading.current_thread().name, exc_info=error)
            self._is_broken = True
            # Each of the other threads may wait for one of these.
            self._prepare_slots.release()
            self._decode_slots.release()
            self._prepared.put(None)
            self._denoised.put(None)
            self._on_broken(error)

    def _prepare(self) -> None:
        while True:
            self._prepare_slots.acquire()
            batch = None if self._is_broken else self._take()
            if batch is None:
                break
            started = time.monotonic()
            if self._run(batch, "prepare", partial(self._engine.prepare, batch.orders)):
                self.prepare_seconds += (time.monotonic() - started - self.prepare_seconds) * WEIGHT
                self._prepared.put(batch)
            else:
                self._prepare_slots.release()
        self._prepared.put(None)

    def _denoise(self) -> None:
        while (batch := self._prepared.get()) is not None:
            self._decode_slots.acquire()
            batch.denoised_from = time.monotonic()
            # The call below returns before a GPU has ended the batch, so what was launched earlier counts too.
            self._begun_count += len(batch.jobs)
            self._predict_free(len(batch.jobs), since=max(batch.denoised_from, self.free_at))
            # The next batch may be prepared from now on.
            self._prepare_slots.release()
            denoise = partial(self._engine.denoise, batch.value, on_step=self._make_step_callback(batch))
            if self._may_begin(batch) and self._run(batch, "denoise", denoise):
                self._denoised.put(batch)
            else:
                self._begun_count -= len(batch.jobs)
                self._decode_slots.release()
        self._denoised.put(None)

    def _decode(self) -> None:
        while (batch := self._denoised.get()) is not None:
            if self._run(batch, "decode", partial(self._decode_all, batch)):
                self._measure_speed(batch)
                self._deliver(batch)
            else:
                self._ended_count += len(batch.jobs)
            self._decode_slots.release()

    def _decode_all(self, batch: Batch) -> Sequence[Picture | Exception]:
        outcomes: Sequence[Picture | Exception]
        try:
            outcomes = self._engine.decode(batch.value)
        except SomeOrdersFailed as failed:
            outcomes = failed.outcomes
        if len(outcomes) != len(batch.jobs):
            raise BadOutput(f"the engine made {len(outcomes)} images of {len(batch.jobs)} orders")
        return outcomes

    def _run(self, batch: Batch, name: str, stage: Callable[[], Any]) -> bool:
        self.note_progress()
        started_at = self.progressed_at
        try:
            batch.value = stage()
            self.note_progress()
            self._tell_stage(batch, name, time.monotonic() - started_at)
        except Exception as error:  # noqa: BLE001
            # The error belongs to the callers that wait for this batch. The thread must survive to serve the others.
            self._on_end(batch, error)
            return False
        return True

    def _tell_stage(self, batch: Batch, name: str, seconds: float) -> None:
        try:
            self._on_stage(name, batch.orders, seconds)
        except Exception:
            # A measurement must cost no picture.
            log.exception("the callback for a stage failed")

    def _deliver(self, batch: Batch) -> None:
        for job, outcome in zip(batch.jobs, batch.value, strict=True):
            # The future has failed already if another thread broke.
            with suppress(InvalidStateError):
                if isinstance(outcome, Exception):
                    job.future.set_exception(outcome)
                else:
                    job.future.set_result(outcome)
        self._on_end(batch, None)

    def _measure_speed(self, batch: Batch) -> None:
        """Update the speed with the time since the previous batch ended.

        The device may still work on an earlier stage when a later one is called, so a single stage cannot be timed.
        """
        now = time.monotonic()
        seconds = now - max(batch.denoised_from, self._ended_at)
        self._ended_at = now
        self._held_seconds += seconds
        batch.device_seconds = seconds
        each = seconds / len(batch.jobs)
        before = each if self.seconds_per_image is None else self.seconds_per_image
        self.seconds_per_image = before + (each - before) * WEIGHT
        self._ended_count += len(batch.jobs)
        self._predict_free(self._begun_count - self._ended_count, since=now)

    def _predict_free(self, order_count: int, *, since: float) -> None:
        self.free_at = since + order_count * (self.seconds_per_image or 0.0)

    def _make_step_callback(self, batch: Batch) -> StepCallback:
        def on_step(done: int, steps: int) -> None:
            self.note_progress()
            for job in batch.jobs:
                _report(job, done, steps)
            # While anybody wants a picture of the batch, its other pictures cost nothing more.
            if batch.jobs and all(job.order.is_unwanted() for job in batch.jobs):
                raise OrderDropped

        return on_step


def _report(job: Job, done: int, steps: int) -> None:
    if job.on_step is None:
        return
    try:
        job.on_step(done, steps)
    except Exception:
        # Progress is optional. A failing callback must cost no picture, neither its own nor a neighbour's.
        log.exception("a step callback failed")
