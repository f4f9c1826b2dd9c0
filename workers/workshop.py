"""What a GPU worker process has for all its tasks: an engine and a batcher for each model, and the heartbeat."""

import logging
import threading
from concurrent.futures import Future

from django.conf import settings
from PIL import Image

from workers.attempt import Studio
from workers.batcher import Batcher
from workers.catalogue import catalogue
from workers.engine import ImageOrder, load_engine
from workers.heartbeat import Heartbeat

log = logging.getLogger(__name__)


class Workshop:
    """Loads every model of the catalogue, which may take minutes, and starts the threads. Close it once."""

    def __init__(self, *, worker_name: str) -> None:
        self._batchers: dict[str, Batcher] = {}
        for model in catalogue().values():
            log.info("loading %s from %s on device %s", model.name, model.weights, settings.DEVICE)
            self._batchers[model.name] = Batcher(load_engine(model=model, device=settings.DEVICE))
        self._heartbeat = Heartbeat(worker_name=worker_name, speed=self._seconds_per_image)
        self._heartbeat.start()
        self.studio = Studio(paint=self._paint, heartbeat=self._heartbeat)

    def close(self) -> None:
        """Finishes what the batchers hold, then stops every thread."""
        for batcher in self._batchers.values():
            batcher.close()
        self._heartbeat.close()

    def _seconds_per_image(self) -> float | None:
        """The slowest model's, so that a wait which is predicted from it is rather too long than too short."""
        speeds = (batcher.seconds_per_image for batcher in self._batchers.values())
        return max((speed for speed in speeds if speed is not None), default=None)

    def _paint(self, model_name: str, order: ImageOrder) -> "Future[Image.Image]":
        return self._batchers[model_name].submit(order)


_lock = threading.Lock()
_opened: Workshop | None = None


def open_workshop(*, worker_name: str) -> Workshop:
    """This process's workshop, made at the first call; safe from any thread."""
    global _opened  # noqa: PLW0603 (one process drives one GPU)
    with _lock:
        if _opened is None:
            _opened = Workshop(worker_name=worker_name)
        return _opened


def close_workshop() -> None:
    """Closes this process's workshop, if it has one."""
    global _opened  # noqa: PLW0603
    with _lock:
        if _opened is not None:
            _opened.close()
            _opened = None
