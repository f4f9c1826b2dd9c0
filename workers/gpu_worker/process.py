"""The GPU worker process: an engine and a batcher for each model, the heartbeat and the idle poller."""

import logging
import math
import os
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future
from functools import partial

from django.conf import settings

from workers import licences
from workers.catalogue import CatalogueError, ImageModel, models_of
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, StepCallback, load_engine
from workers.engine.loading_progress import LoadingProgress
from workers.gpu_worker import build_id, marking, stages
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import Heartbeat
from workers.gpu_worker.incoming import IncomingOrders
from workers.gpu_worker.poller import IdlePoller
from workers.gpu_worker.previews import PreviewPublisher
from workers.gpu_worker.progress import ProgressReporter
from workers.gpu_worker.recycling import Recycling
from workers.gpu_worker.utilisation import Utilisation
from workers.lifecycle import generations
from workers.messaging import counters
from workers.messaging.worker_registry import Details

log = logging.getLogger(__name__)

# The exit status of a worker whose device is lost (EX_SOFTWARE of sysexits.h). Its supervisor starts another.
DEVICE_LOST_STATUS = 70
# The time in which the attempts on a lost device, or of a broken batcher, can requeue their generations.
DEVICE_LOST_SECONDS = 10.0


class GpuWorker:
    """Owner of the engines, batchers and threads of this process. Close it once."""

    def __init__(self, *, worker_name: str, capacity: int, queues: Collection[str]) -> None:
        """Load the models of these queues, which may take minutes, and start the threads.

        Meanwhile the worker is registered as one that loads. `capacity` is the maximum number of attempts that run at
        once. Raise CatalogueError for a queue that no model has, and Misconfigured for pictures that cannot be signed
        or a limit of memory that is too low.
        """
        models = _list_models(queues)
        marking.check()
        self._queues = sorted(queues)
        self._loading = [model.name for model in models]
        self._started_at = time.time()
        self._loading_progress = LoadingProgress(
            model_count=len(models), on_change=self._tell_loading_progress
        )
        self._batchers: dict[str, Batcher] = {}
        self._compilation: dict[str, str] = {}
        self._incoming = IncomingOrders()
        self._device = settings.DEVICE
        self._utilisation = Utilisation(self._busy_seconds)
        self._heartbeat = Heartbeat(
            worker_name=worker_name,
            speed=self._seconds_per_image,
            describe=self._describe,
            before_beat=self._check_health,
        )
        self._recycling = Recycling(
            max_generations=settings.MAX_GENERATIONS_PER_WORKER, max_memory_mib=settings.MAX_WORKER_MEMORY
        )
        self._progress = ProgressReporter()
        self._previews = PreviewPublisher()
        self._heartbeat.start()
        try:
            # The thread of the heartbeat reads this attribute, so it never sees the mapping change.
            self._batchers = {model.name: self._load(model) for model in models}
            self._recycling.refuse_useless_limit()
        except BaseException:
            self._heartbeat.close()
            raise
        self.context = AttemptContext(
            submit_order=self._submit_order,
            heartbeat=self._heartbeat,
            models=frozenset(self._batchers),
            expect_order=self._incoming.expect_order,
            follow_steps=self._progress.follow,
            follow_previews=self._previews.follow,
        )
        self._poller = IdlePoller(context=self.context, capacity=capacity)
        self._progress.start()
        self._previews.start()
        self._loading = []
        self._heartbeat.beat_soon()
        self._poller.start()

    def _load(self, model: ImageModel) -> Batcher:
        log.info("loading %s from %s on device %s", model.name, model.weights, settings.DEVICE)
        with self._loading_progress.follow_model():
            engine = load_engine(model=model, device=settings.DEVICE)
        # An engine from outside the project need not have a `device_name`.
        self._device = getattr(engine, "device_name", settings.DEVICE)
        self._compilation[model.name] = getattr(engine, "compilation", "plain")
        return Batcher(
            engine,
            more_may_come=self._incoming.has_any,
            on_device_lost=partial(self._leave, f"the device {settings.DEVICE} is lost"),
            on_broken=partial(self._leave, f"a thread of {model.name} broke"),
            on_stage=partial(stages.note_engine_stage, model.name),
        )

    def _tell_loading_progress(self) -> None:
        fraction = self._loading_progress.fraction
        done = "" if fraction is None else f", {math.floor(100 * fraction)} %"
        log.info("loading: %s%s", self._loading_progress.stage or "models", done)
        self._heartbeat.beat_soon()

    def stop(self, *, within_seconds: float) -> None:
        """Finish the running batches, requeue everything else, and return at once.

        Attempts that have not ended `within_seconds` are requeued too, and then the process exits at once.
        """
        log.info("stopping: running batches are finished, everything else is requeued")
        self._poller.stop()
        for batcher in self._batchers.values():
            batcher.drain()
        end = threading.Timer(within_seconds, self._end_by_force)
        end.daemon = True
        end.start()

    def close(self) -> None:
        """Finish the orders of the batchers, then stop every thread."""
        for batcher in self._batchers.values():
            batcher.close()
        self._poller.close()
        self._progress.close()
        self._previews.close()
        self._heartbeat.close()

    def _end_by_force(self) -> None:
        """Requeue the running attempts and exit. A running attempt without its lease could settle nothing."""
        try:
            count = generations.put_back(lease_tokens=self._heartbeat.lease_tokens)
            log.error("zekron: stopped with %d unfinished generations, which are requeued", count)
        except Exception:
            log.exception("zekron: stopped without the database; the sweep rescues unfinished generations")
        finally:
            _exit(0)

    def _check_health(self) -> None:
        """End a process that hangs, and stop one that has lived long enough. Called before each beat."""
        self._leave_hanging_device()
        if not self._loading:
            self._recycling.stop_if_due(generation_count=self._heartbeat.ended_count)

    def _leave_hanging_device(self) -> None:
        """End the process if a device has stopped answering inside a call, which nothing else would end.

        The running attempts count, so that an order which hangs every device is not taken for ever.
        """
        hanging = [name for name, batcher in self._batchers.items() if batcher.is_hanging]
        if hanging:
            log.critical(
                "zekron: the device %s hangs with %s; this worker exits and must be restarted",
                settings.DEVICE,
                ", ".join(hanging),
            )
            _exit(DEVICE_LOST_STATUS)

    def _leave(self, reason: str) -> None:
        """End the process, because neither a broken device context nor a missing thread is mended inside it.

        Its supervisor starts another.
        """
        log.critical("zekron: %s; this worker exits and must be restarted", reason)
        try:
            counters.count_background_error(name="batcher")
            self._poller.stop()
            for batcher in self._batchers.values():
                batcher.drain()
            give_up_at = time.monotonic() + DEVICE_LOST_SECONDS
            while self._heartbeat.lease_tokens and time.monotonic() < give_up_at:
                time.sleep(0.05)
        finally:
            _exit(DEVICE_LOST_STATUS)

    def _seconds_per_image(self) -> float | None:
        """Return the speed of the slowest model, so that a predicted wait is rather too long than too short."""
        speeds = (batcher.seconds_per_image for batcher in self._batchers.values())
        return max((speed for speed in speeds if speed is not None), default=None)

    def _busy_seconds(self) -> float:
        return sum(batcher.busy_seconds for batcher in self._batchers.values())

    def _describe(self) -> Details:
        if self._loading:
            # A worker that loads counts as one without a model or a queue, also for a release that knows no loading.
            return Details(
                models={},
                device=self._device,
                code=build_id.digest(),
                loading=self._loading,
                started_at=self._started_at,
                loading_stage=self._loading_progress.stage,
                loading_fraction=self._loading_progress.fraction,
            )
        return Details(
            models={name: batcher.seconds_per_image for name, batcher in self._batchers.items()},
            queues=self._queues,
            device=self._device,
            busy_fraction=self._utilisation.fraction(),
            code=build_id.digest(),
            compilation=self._compilation,
        )

    def _submit_order(
        self, model_name: str, order: ImageOrder, on_step: StepCallback | None = None
    ) -> "Future[Picture]":
        # This comes before `submit`: the batcher asks for other orders on their way and must not find this one.
        self._incoming.mark_arrived()
        return self._batchers[model_name].submit(order, on_step)


def _list_models(queues: Collection[str]) -> list[ImageModel]:
    models = models_of(queues)
    if idle := sorted(set(queues) - {model.queue for model in models}):
        raise CatalogueError(f"{settings.MODELS_FILE}: no model has the queue {idle[0]!r}")
    for model in models:
        if not licences.is_known(model.licence):
            log.warning(
                "it is unknown whether the licence %s of %s allows paid use", model.licence, model.name
            )
    return models


def _exit(status: int) -> None:
    """Exit at once, without the clean-up of Python.

    A thread inside a device's library could block the clean-up for ever.
    """
    logging.shutdown()
    os._exit(status)


_current: GpuWorker | None = None


def start(*, worker_name: str, capacity: int, queues: Collection[str]) -> None:
    """Create this process's GpuWorker for the models of these queues. Call it once, before the first task."""
    global _current  # noqa: PLW0603 (one process drives one GPU)
    _current = GpuWorker(worker_name=worker_name, capacity=capacity, queues=queues)


def get_current() -> GpuWorker:
    """Return this process's GpuWorker."""
    assert _current is not None, "only a process that serves GPU queues has a GpuWorker"
    return _current


def stop(*, within_seconds: float) -> None:
    """Stop this process's GpuWorker, if it has one. `close` must follow."""
    if _current is not None:
        _current.stop(within_seconds=within_seconds)


def close() -> None:
    """Close this process's GpuWorker, if it has one."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.close()
        _current = None
