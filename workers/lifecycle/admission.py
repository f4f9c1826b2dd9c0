"""Whether a new generation would be made in time: what waits already, against the speed of the workers that live."""

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

# For a worker that has made nothing yet.
FIRST_GUESS_SECONDS = 5.0
# A worker that was restarted is back after about this long.
NO_WORKER_RETRY_SECONDS = 30
# The queue is counted no further than so many times what can be made within the limit.
LOOK_FACTOR = 10
# Up to here what is open is counted for each request, and each worker is asked after. Beyond, once in this time: else a
# long queue would make each request dear, and most of all those that it is too long for, and so would a large fleet.
EXACT_COUNT = 500
MAX_UNCACHED_WORKERS = 16
FRESH_SECONDS = 1.0
_deep: dict[str | None, tuple[float, int]] = {}
_fleet: dict[str, tuple[float, list[Worker]]] = {}


class QueueTooLong(Exception):
    """The queue predicts a longer wait than a client may have; it may be shorter in `wait_seconds`."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


def refuse_if_too_long(*, model_name: str, limit_seconds: int) -> None:
    """Raises QueueTooLong when the wait that is predicted for an image of this model is over the limit, or nobody makes
    them. Without Redis it cannot know, and lets everything in: what is not made in time is cancelled and free.
    """
    try:
        workers = [worker for worker in _alive() if worker.makes(model_name)]
    except redis.RedisError as error:
        log.debug("nothing can be predicted of the queue: %s", error)
        return
    if not workers:
        raise QueueTooLong(NO_WORKER_RETRY_SECONDS)
    # Whatever else these workers make stands in the same line.
    made = {model_name}.union(*(worker.details.models for worker in workers if worker.details))
    predicted_seconds = sum(_seconds_of(name, workers, limit_seconds) for name in made)
    if predicted_seconds > limit_seconds:
        raise QueueTooLong(math.ceil(predicted_seconds - limit_seconds))


def _alive(*, clock: Callable[[], float] = time.monotonic) -> Sequence[Worker]:
    """The workers that live; many are remembered for a second. Raises redis.RedisError."""
    seen_at, workers = _fleet.get(settings.REDIS_URL, (-math.inf, []))
    if clock() - seen_at < FRESH_SECONDS:
        return workers
    workers = worker_registry.alive()
    if len(workers) > MAX_UNCACHED_WORKERS:
        _fleet[settings.REDIS_URL] = clock(), workers
    return workers


def _seconds_of(model_name: str, workers: Sequence[Worker], limit_seconds: int) -> float:
    """How long it takes these workers to make what is open of the model."""
    able = [worker for worker in workers if worker.makes(model_name)]
    images_per_second = sum(1 / (worker.seconds_of(model_name) or FIRST_GUESS_SECONDS) for worker in able)
    most = math.ceil(LOOK_FACTOR * limit_seconds * images_per_second) + 1
    is_only_one = set(catalogue()) == {model_name}
    return _open_count(None if is_only_one else model_name, most) / images_per_second


def _open_count(model: str | None, most: int, *, clock: Callable[[], float] = time.monotonic) -> int:
    """What is open of the model, or of all. Two threads may both count, and a second's new arrivals may be missing."""
    counted_at, count = _deep.get(model, (-math.inf, 0))
    if clock() - counted_at < FRESH_SECONDS:
        return min(count, most)
    count = queries.open_count(most=min(most, EXACT_COUNT), model=model)
    if count == EXACT_COUNT < most:
        count = queries.open_count(most=most, model=model)
        _deep[model] = clock(), count
    return count
