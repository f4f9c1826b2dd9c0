"""What a GPU worker process has for all its tasks: an engine and a batcher for each model, heartbeat and idle hands."""

import logging
import os
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future

from django.conf import settings
from django.db import DatabaseError

from workers import licences
from workers.catalogue import CatalogueError, ImageModel, models_of
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, load_engine
from workers.gpu_worker import build_id
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import Heartbeat
from workers.gpu_worker.incoming import IncomingOrders
from workers.gpu_worker.poller import IdlePoller
from workers.gpu_worker.utilisation import Utilisation
from workers.lifecycle import generations
from workers.messaging.worker_registry import Details

log = logging.getLogger(__name__)

# What a supervisor sees of a worker whose device is lost (EX_SOFTWARE of sysexits.h), so that it starts another.
DEVICE_LOST_STATUS = 70
# So long the attempts that met the lost device have to put themselves back.
DEVICE_LOST_SECONDS = 10.0


class GpuWorker:
    """Loads the models of its queues, which may take minutes, and starts the threads. Close it once."""

    def __init__(self, *, worker_name: str, capacity: int, queues: Collection[str]) -> None:
        """`capacity` is how many attempts may run at once. Raises CatalogueError for queues that no model has."""
        self._queues = sorted(queues)
        self._batchers: dict[str, Batcher] = {}
        self._incoming = IncomingOrders()
        self._device = settings.DEVICE
        for model in _models_of(queues):
            log.info("loading %s from %s on device %s", model.name, model.weights, settings.DEVICE)
            engine = load_engine(model=model, device=settings.DEVICE)
            # An engine of one's own need not tell.
            self._device = getattr(engine, "device_name", settings.DEVICE)
            self._batchers[model.name] = Batcher(
                engine, more_may_come=self._incoming.any, on_device_lost=self._leave_lost_device
            )
        self._utilisation = Utilisation(self._busy_seconds)
        self._heartbeat = Heartbeat(
            worker_name=worker_name, speed=self._seconds_per_image, describe=self._describe
        )
        self.context = AttemptContext(
            submit_order=self._submit_order,
            heartbeat=self._heartbeat,
            models=frozenset(self._batchers),
            expect_order=self._incoming.expect_order,
        )
        self._poller = IdlePoller(context=self.context, capacity=capacity)
        self._heartbeat.start()
        self._poller.start()

    def stop(self, *, within_seconds: float) -> None:
        """Lets what the engines are at finish and puts the rest back into the queue; returns at once.

        What has not ended `within_seconds` is put back too, and then the process ends where it stands.
        """
        log.info("stopping: what the device is at is finished, the rest is put back")
        self._poller.stop()
        for batcher in self._batchers.values():
            batcher.drain()
        end = threading.Timer(within_seconds, self._end_by_force)
        end.daemon = True
        end.start()

    def close(self) -> None:
        """Finishes what the batchers hold, then stops every thread."""
        for batcher in self._batchers.values():
            batcher.close()
        self._poller.close()
        self._heartbeat.close()

    def _end_by_force(self) -> None:
        """What runs on does so without a lease: it could settle nothing."""
        try:
            count = generations.put_back(lease_tokens=self._heartbeat.lease_tokens)
            log.error(
                "zekron: stopped with %d generations unfinished; they are put back into the queue", count
            )
        except DatabaseError:
            log.exception("zekron: stopped without the database; the sweep rescues what was unfinished")
        _exit(0)

    def _leave_lost_device(self) -> None:
        """Ends the process, for a device context that is broken stays broken; its supervisor starts another."""
        log.critical(
            "zekron: the device %s is lost; this worker ends and must be started again", settings.DEVICE
        )
        self._poller.stop()
        for batcher in self._batchers.values():
            batcher.drain()
        give_up_at = time.monotonic() + DEVICE_LOST_SECONDS
        while self._heartbeat.lease_tokens and time.monotonic() < give_up_at:
            time.sleep(0.05)
        _exit(DEVICE_LOST_STATUS)

    def _seconds_per_image(self) -> float | None:
        """The slowest model's, so that a wait which is predicted from it is rather too long than too short."""
        speeds = (batcher.seconds_per_image for batcher in self._batchers.values())
        return max((speed for speed in speeds if speed is not None), default=None)

    def _busy_seconds(self) -> float:
        return sum(batcher.busy_seconds for batcher in self._batchers.values())

    def _describe(self) -> Details:
        return Details(
            models={name: batcher.seconds_per_image for name, batcher in self._batchers.items()},
            queues=self._queues,
            device=self._device,
            busy_fraction=self._utilisation.fraction(),
            code=build_id.digest(),
        )

    def _submit_order(self, model_name: str, order: ImageOrder) -> "Future[Picture]":
        # Before its order is there: the batcher looks who else is on the way, and must not find this one.
        self._incoming.arrived()
        return self._batchers[model_name].submit(order)


def _models_of(queues: Collection[str]) -> list[ImageModel]:
    models = models_of(queues)
    if idle := sorted(set(queues) - {model.queue for model in models}):
        raise CatalogueError(f"{settings.MODELS_FILE}: no model has the queue {idle[0]!r}")
    for model in models:
        if not licences.is_known(model.licence):
            log.warning(
                "whether the licence %s of %s allows paid use is not known here", model.licence, model.name
            )
    return models


def _exit(status: int) -> None:
    """At once, without what Python does at an end: a thread inside a device's library could hold that up for ever."""
    logging.shutdown()
    os._exit(status)


_current: GpuWorker | None = None


def start(*, worker_name: str, capacity: int, queues: Collection[str]) -> None:
    """Makes this process's workshop for the models of these queues. Call it once, before the first task."""
    global _current  # noqa: PLW0603 (one process drives one GPU)
    _current = GpuWorker(worker_name=worker_name, capacity=capacity, queues=queues)


def current() -> GpuWorker:
    """This process's workshop."""
    assert _current is not None, "only a worker of the GPU queue has a workshop"
    return _current


def stop(*, within_seconds: float) -> None:
    """Stops this process's workshop, if it has one; `close_workshop` must follow."""
    if _current is not None:
        _current.stop(within_seconds=within_seconds)


def close() -> None:
    """Closes this process's workshop, if it has one."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.close()
        _current = None
