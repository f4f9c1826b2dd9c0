"""Prediction of the wait for a new generation, from the open generations and the speed of the live workers.

It writes nothing to the database or Redis. It knows neither HTTP nor accounts.
"""

import logging
import math
from collections.abc import Sequence

import redis

from workers.catalogue import catalogue
from workers.lifecycle.queue_readings import QueueReadings
from workers.messaging.worker_registry import Worker

log = logging.getLogger(__name__)

# The assumed time per image of a worker that has made no image yet.
FIRST_GUESS_SECONDS = 5.0
# A restarted worker is ready again after about this time.
NO_WORKER_RETRY_SECONDS = 30
# The count of open generations stops at this multiple of the number that can be made within the limit.
LOOK_FACTOR = 10

_readings = QueueReadings()


class QueueTooLong(Exception):
    """The predicted wait is over the limit. A retry after `wait_seconds` may succeed."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


def refuse_if_too_long(*, model_name: str, limit_seconds: int) -> None:
    """Raise QueueTooLong if the predicted wait for an image is over the limit, or if no live worker has the model.

    An accepted request counts in the predictions of the next second, also if it is refused for another reason later.
    Without Redis no prediction is possible, and the function accepts every request. A generation that is not made in
    time is cancelled and free.
    """
    try:
        workers = _readings.list_able(model_name)
    except redis.RedisError as error:
        log.debug("the wait cannot be predicted without Redis: %s", error)
        return
    if not workers:
        raise QueueTooLong(NO_WORKER_RETRY_SECONDS)
    # Generations of the other models of these workers wait for the same devices.
    made = {model_name}.union(*(worker.details.models for worker in workers if worker.details))
    predicted_seconds = sum(_predict_seconds(name, workers, limit_seconds) for name in made)
    if predicted_seconds > limit_seconds:
        raise QueueTooLong(math.ceil(predicted_seconds - limit_seconds))
    _readings.note_admission(_counted_as(model_name))


def _predict_seconds(model_name: str, workers: Sequence[Worker], limit_seconds: int) -> float:
    """Return how many seconds these workers need for the open generations of the model."""
    able = [worker for worker in workers if worker.makes(model_name)]
    images_per_second = sum(1 / (worker.seconds_of(model_name) or FIRST_GUESS_SECONDS) for worker in able)
    most = math.ceil(LOOK_FACTOR * limit_seconds * images_per_second) + 1
    return _readings.count_open(_counted_as(model_name), most=most) / images_per_second


def _counted_as(model_name: str) -> str | None:
    """Return the model whose generations are counted, or None for all, which is faster if there is no other model."""
    return None if set(catalogue()) == {model_name} else model_name
