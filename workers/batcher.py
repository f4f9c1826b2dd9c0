"""Gathers orders from many threads and runs them through the engine in one. Knows no database and no pipeline."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from PIL import Image

from workers.engine import BadOutput, DeviceLost, Engine, ImageOrder, StepCallback

logger = logging.getLogger(__name__)

# Long enough for the tasks of one wave of messages to arrive, short beside the seconds of a picture.
LINGER_SECONDS = 0.005


class BatcherClosed(Exception):
    """The batcher takes no more orders."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    order: ImageOrder
    on_step: StepCallback | None
    future: Future[Image.Image] = field(default_factory=Future)

    def goes_with(self, other: "_Job") -> bool:
        """An edit goes alone: its sources would belong to the whole batch."""
        if self.order.sources or other.order.sources:
            return False
        return (self.order.width, self.order.height) == (other.order.width, other.order.height)


class Batcher:
    """The one way to an engine: `submit` from any thread, one thread named "gpu" runs it, oldest order first."""

    def __init__(
        self,
        engine: Engine,
        *,
        linger_seconds: float = LINGER_SECONDS,
        on_device_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the thread; the engine belongs to it until `close` has returned.

        `seconds_per_image` says how long an image has taken lately; None until one was made. `on_device_lost` is called
        once, from the gpu thread, after every order has failed; the batcher is then closed.
        """
        self._engine = engine
        self._on_device_lost = on_device_lost
        self._linger_seconds = linger_seconds
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.seconds_per_image: float | None = None
        self._thread = threading.Thread(target=self._run, name="gpu", daemon=True)
        self._thread.start()

    def submit(self, order: ImageOrder, on_step: StepCallback | None = None) -> Future[Image.Image]:
        """The picture to come, or the engine's exception. `on_step` is called from the gpu thread.

        The future can be cancelled until its batch starts. Raises BatcherClosed.
        """
        job = _Job(order=order, on_step=on_step)
        with self._changed:
            if self._closed:
                raise BatcherClosed
            self._waiting.append(job)
            self._changed.notify_all()
        return job.future

    def drain(self) -> None:
        """Takes no more orders, and fails those that are not in the engine yet by BatcherClosed. Twice is fine."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(BatcherClosed())

    def close(self) -> None:
        """Takes no more orders, and returns when those taken have been made or have failed. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._make(batch)
            except DeviceLost as problem:
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(problem)
                self.drain()
                self._on_device_lost()

    def _next_batch(self) -> list[_Job]:
        """The oldest order with its company, as soon as there is one; nothing once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._waiting:
                self._changed.wait_for(self._enough, timeout=self._linger_seconds)
            if not self._waiting:
                return []
            batch = self._company()
            for job in batch:
                self._waiting.remove(job)
            return batch

    def _enough(self) -> bool:
        if self._closed:
            return True
        oldest = self._waiting[0]
        return bool(oldest.order.sources) or len(self._company()) >= self._engine.batch_limit

    def _company(self) -> list[_Job]:
        oldest, *others = self._waiting
        company = [oldest, *(job for job in others if job.goes_with(oldest))]
        return company[: self._engine.batch_limit]

    def _make(self, batch: list[_Job]) -> None:
        batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            self._generate(batch)
        except DeviceLost:
            raise
        except Exception as problem:  # noqa: BLE001
            # Whatever the device raises belongs to whoever waits; this thread must live to serve the others.
            self._fail(batch, problem)

    def _fail(self, batch: list[_Job], problem: Exception) -> None:
        """One poisoned order must not fail its neighbours: each of several is tried once more, alone."""
        if len(batch) == 1:
            batch[0].future.set_exception(problem)
            return
        logger.warning("a batch of %d failed and is made one by one: %r", len(batch), problem)
        for job in batch:
            try:
                self._generate([job])
            except DeviceLost:
                raise
            except Exception as own_problem:  # noqa: BLE001
                # The same reason as above.
                job.future.set_exception(own_problem)

    def _generate(self, batch: list[_Job]) -> None:
        def on_step(done: int, steps: int) -> None:
            for job in batch:
                _report(job, done, steps)

        started = time.monotonic()
        images = self._engine.generate([job.order for job in batch], on_step=on_step)
        self._note_speed((time.monotonic() - started) / len(batch))
        if len(images) != len(batch):
            raise BadOutput(f"the engine made {len(images)} images of {len(batch)} orders")
        for job, image in zip(batch, images, strict=True):
            job.future.set_result(image)

    def _note_speed(self, seconds: float) -> None:
        """Weighs what is new by a fifth, so that one odd picture does not change what is predicted."""
        before = seconds if self.seconds_per_image is None else self.seconds_per_image
        self.seconds_per_image = before + (seconds - before) * 0.2


def _report(job: _Job, done: int, steps: int) -> None:
    if job.on_step is None:
        return
    try:
        job.on_step(done, steps)
    except Exception:
        # Progress is a courtesy: a listener that fails must not cost a picture, its neighbours' least of all.
        logger.exception("a step callback failed")
