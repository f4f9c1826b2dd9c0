"""Prediction of the wait for a new generation, from the open generations and the speed of the live workers.

It writes nothing to the database. Redis counts the images that are refused for want of a worker. It knows neither HTTP
nor accounts.
"""

import logging
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import redis
from django.conf import settings

from workers.catalogue import catalogue
from workers.lifecycle.queue_readings import RECOUNT_SECONDS, QueueReadings
from workers.messaging import demand, worker_registry
from workers.messaging.worker_registry import Details, Worker

log = logging.getLogger(__name__)

# The assumed time per image of a worker that has made no image yet.
FIRST_GUESS_SECONDS = 5.0
# A restarted worker is ready again after about this time.
NO_WORKER_RETRY_SECONDS = 30
# The bounds of the time that a loading worker is predicted to need.
MIN_LOADING_SECONDS = 5
MAX_LOADING_SECONDS = 600
# The count of open generations stops at this multiple of the number that can be made within the limit.
LOOK_FACTOR = 10

_readings = QueueReadings()


class QueueTooLong(Exception):
    """The predicted wait is over the limit. A retry after `wait_seconds` may succeed."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


class ModelLoading(QueueTooLong):
    """The only workers for the model still load it, of which `fraction` is done. Its text is for clients."""

    def __init__(self, wait_seconds: int, fraction: float | None = None) -> None:
        super().__init__(wait_seconds)
        self.fraction = fraction

    def __str__(self) -> str:
        """Return the message, with the part that is done if it is known."""
        done = "" if self.fraction is None else f" ({math.floor(100 * self.fraction)} %)"
        return f"The service is still loading this model{done}. Nothing was charged. Try again later."


class Speed(NamedTuple):
    """The speed of the workers that have a model.

    Generations of the other models of these workers wait for the same devices. They take `other_seconds`.
    """

    images_per_second: float
    other_seconds: float

    def seconds_for(self, count: int) -> float:
        """Return the seconds until the workers have made `count` images of the model and all of the other models."""
        return count / self.images_per_second + self.other_seconds


def refuse_if_too_long(
    *,
    model_name: str,
    limit_seconds: int,
    image_count: int = 1,
    needs_worker: bool = True,
    is_demand: bool = True,
) -> None:
    """Raise QueueTooLong if the predicted wait is over the limit, or if no live worker has the model.

    The wait is that until the last of `image_count` images starts. If they alone take longer than the limit, they must
    find an empty queue.

    It is ModelLoading if a worker is loading the model. Images that are refused without a worker count as demand, if
    `is_demand`. An accepted request counts in the predictions of the next second, also if it is refused for another
    reason later. Without Redis no prediction is possible, and the function accepts every request. So it does without a
    worker for a request that can wait until one comes (`needs_worker`). A generation that is not made in time is
    cancelled and free.
    """
    try:
        speed = find_speed(model_name=model_name, limit_seconds=limit_seconds)
        if speed is not None:
            # The time that a queue may take before the first image.
            first_limit_seconds = max(0.0, limit_seconds - (image_count - 1) / speed.images_per_second)
            wait_seconds = _predict_with(speed, model_name, limit_seconds)
            if wait_seconds > first_limit_seconds:
                # A fast worker has made many of the images that were counted a moment ago.
                wait_seconds = _predict_with(
                    speed, model_name, limit_seconds, max_age_seconds=RECOUNT_SECONDS
                )
    except redis.RedisError as error:
        log.debug("the wait cannot be predicted without Redis: %s", error)
        return
    if speed is None and not needs_worker:
        return
    if speed is None:
        raise _refuse_without_worker(model_name, image_count if is_demand else 0)
    if wait_seconds > first_limit_seconds:
        raise QueueTooLong(math.ceil(wait_seconds - first_limit_seconds))
    _readings.note_admission(_counted_as(model_name), image_count=image_count)


def predict_wait_seconds(*, model_name: str, limit_seconds: int) -> float | None:
    """Return the seconds until the workers would start on a new generation, or None if no live worker has the model.

    Raise redis.RedisError.
    """
    speed = find_speed(model_name=model_name, limit_seconds=limit_seconds)
    return None if speed is None else _predict_with(speed, model_name, limit_seconds)


def estimate_wait_seconds(*, model_name: str) -> int | None:
    """Return the predicted wait in whole seconds, or None if no live worker has the model or Redis is away."""
    try:
        seconds = predict_wait_seconds(model_name=model_name, limit_seconds=settings.SYNC_WAIT_SECONDS)
    except redis.RedisError as error:
        log.debug("the wait cannot be estimated without Redis: %s", error)
        return None
    return None if seconds is None else math.ceil(seconds)


def find_speed(*, model_name: str, limit_seconds: int) -> Speed | None:
    """Return the speed of the live workers that have the model, or None if there are none. Raise redis.RedisError."""
    workers = _readings.list_able(model_name)
    if not workers:
        return None
    others = set[str]().union(*(worker.details.models for worker in workers if worker.details)) - {model_name}
    other_seconds = 0.0
    for name in sorted(others):
        images_per_second = _images_per_second(name, workers)
        other_seconds += _count_open(name, images_per_second, limit_seconds) / images_per_second
    return Speed(_images_per_second(model_name, workers), other_seconds)


def _predict_with(
    speed: Speed, model_name: str, limit_seconds: int, *, max_age_seconds: float | None = None
) -> float:
    """Return the wait by a count of the model's open generations that is at most as old, or a second without it."""
    count = _count_open(model_name, speed.images_per_second, limit_seconds, max_age_seconds=max_age_seconds)
    return speed.seconds_for(count)


def _refuse_without_worker(model_name: str, demanded_count: int) -> QueueTooLong:
    """Count the demanded images, and return the refusal, which tells how far the most advanced worker has loaded."""
    try:
        if demanded_count:
            demand.note(model_name=model_name, image_count=demanded_count)
        loading = [
            worker.details
            for worker in worker_registry.list_loading()
            if worker.details and model_name in worker.details.loading
        ]
    except redis.RedisError as error:
        log.debug("it is unknown without Redis whether a worker loads: %s", error)
        loading = []
    if not loading:
        return QueueTooLong(NO_WORKER_RETRY_SECONDS)
    first = max(loading, key=lambda details: details.loading_fraction or 0.0)
    return ModelLoading(_predict_loaded(first), first.loading_fraction)


def _predict_loaded(details: Details) -> int:
    """Return the seconds until the worker has loaded, if it goes on as fast as until now."""
    if not details.loading_fraction or details.started_at is None:
        return NO_WORKER_RETRY_SECONDS
    gone_seconds = time.time() - details.started_at
    seconds = math.ceil(gone_seconds * (1 - details.loading_fraction) / details.loading_fraction)
    return min(max(seconds, MIN_LOADING_SECONDS), MAX_LOADING_SECONDS)


def _images_per_second(model_name: str, workers: Sequence[Worker]) -> float:
    able = [worker for worker in workers if worker.makes(model_name)]
    return sum(1 / (worker.seconds_of(model_name) or FIRST_GUESS_SECONDS) for worker in able)


def _count_open(
    model_name: str, images_per_second: float, limit_seconds: int, *, max_age_seconds: float | None = None
) -> int:
    """Return the number of open generations of the model, counted no further than is needed for a refusal."""
    most = math.ceil(LOOK_FACTOR * limit_seconds * images_per_second) + 1
    return _readings.count_open(_counted_as(model_name), most=most, max_age_seconds=max_age_seconds)


def _counted_as(model_name: str) -> str | None:
    """Return the model whose generations are counted, or None for all, which is faster if there is no other model."""
    return None if set(catalogue()) == {model_name} else model_name
