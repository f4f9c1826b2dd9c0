"""Prediction of the wait for a new generation, from the open generations and the speed of the live workers.

It reads only. It knows neither HTTP nor accounts.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence

import redis
from django.conf import settings

from workers.catalogue import catalogue
from workers.lifecycle import queries
from workers.messaging import worker_registry
from workers.messaging.worker_registry import Worker

log = logging.getLogger(__name__)

# The assumed time per image of a worker that has made no image yet.
FIRST_GUESS_SECONDS = 5.0
# A restarted worker is ready again after about this time.
NO_WORKER_RETRY_SECONDS = 30
# The count of open generations stops at this multiple of the number that can be made within the limit.
LOOK_FACTOR = 10
# Up to these numbers, every request counts the open generations and reads the list of workers. Beyond them, the process
# reuses its last answer for FRESH_SECONDS. Otherwise a long queue or a large fleet would slow down every request.
EXACT_COUNT = 500
MAX_UNCACHED_WORKERS = 16
FRESH_SECONDS = 1.0
_deep: dict[str | None, tuple[float, int]] = {}
_fleet: dict[str, tuple[float, list[Worker]]] = {}


class QueueTooLong(Exception):
    """The predicted wait is over the limit. A retry after `wait_seconds` may succeed."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


def refuse_if_too_long(*, model_name: str, limit_seconds: int) -> None:
    """Raise QueueTooLong if the predicted wait for an image is over the limit, or if no live worker has the model.

    Without Redis no prediction is possible, and the function accepts every request. A generation that is not made in
    time is cancelled and free.
    """
    try:
        workers = [worker for worker in _list_alive() if worker.makes(model_name)]
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


def _list_alive(*, clock: Callable[[], float] = time.monotonic) -> Sequence[Worker]:
    """Return the live workers, from a cache of one second for a large fleet. Raise redis.RedisError."""
    seen_at, workers = _fleet.get(settings.REDIS_URL, (-math.inf, []))
    if clock() - seen_at < FRESH_SECONDS:
        return workers
    workers = worker_registry.list_alive()
    if len(workers) > MAX_UNCACHED_WORKERS:
        _fleet[settings.REDIS_URL] = clock(), workers
    return workers


def _predict_seconds(model_name: str, workers: Sequence[Worker], limit_seconds: int) -> float:
    """Return how many seconds these workers need for the open generations of the model."""
    able = [worker for worker in workers if worker.makes(model_name)]
    images_per_second = sum(1 / (worker.seconds_of(model_name) or FIRST_GUESS_SECONDS) for worker in able)
    most = math.ceil(LOOK_FACTOR * limit_seconds * images_per_second) + 1
    is_only_one = set(catalogue()) == {model_name}
    return _count_open(None if is_only_one else model_name, most) / images_per_second


def _count_open(model: str | None, most: int, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Return the number of open generations of the model, or of all models, counted no further than `most`.

    Two threads may count at the same time, and a cached count misses the arrivals of the last second.
    """
    counted_at, count = _deep.get(model, (-math.inf, 0))
    if clock() - counted_at < FRESH_SECONDS:
        return min(count, most)
    count = queries.count_open(most=min(most, EXACT_COUNT), model=model)
    if count == EXACT_COUNT < most:
        count = queries.count_open(most=most, model=model)
        _deep[model] = clock(), count
    return count
