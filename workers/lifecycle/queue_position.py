"""Positions of queued generations, and the estimated time until their turn.

It reads only. Each model's queue is read at most once a second and no further than `MAX_POSITION`, so the cost grows
neither with the queue nor with the number of clients that ask.
"""

import logging
import math
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

import redis
from django.conf import settings

from workers.lifecycle import admission
from workers.lifecycle.admission import Speed
from workers.models import Generation, Status

log = logging.getLogger(__name__)

MAX_POSITION: Final = 1000
FRESH_SECONDS: Final = 1.0


class Place(NamedTuple):
    """The place of a queued generation.

    `position` is the number of the model's queued generations with an earlier turn, or None above MAX_POSITION.
    `eta_seconds` is the predicted time until a worker starts on this one, or None while no worker has the model.
    """

    position: int | None
    eta_seconds: int | None


class _Queue(NamedTuple):
    """The first turns of a model's queue in order, its running generations, and the speed of its workers.

    `whole_seconds` is the predicted wait behind the whole queue, if it is longer than `turns`.
    """

    turns: list[tuple[datetime, int]]
    running_count: int
    speed: Speed | None
    whole_seconds: float | None


_seen: dict[str, tuple[float, _Queue]] = {}


def find_place(
    *, model: str, turn_at: datetime, generation_id: int, clock: Callable[[], float] = time.monotonic
) -> Place:
    """Return the place of a queued generation, from a view of the queue that is at most a second old."""
    queue = _look(model, clock)
    position = bisect_left(queue.turns, (turn_at, generation_id))
    if position > MAX_POSITION:
        return Place(None, _whole(queue.whole_seconds))
    seconds = queue.speed and queue.speed.seconds_for(position + queue.running_count)
    return Place(position, _whole(seconds))


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else math.ceil(seconds)


def _look(model: str, clock: Callable[[], float]) -> _Queue:
    """Return the model's queue, from a cache of one second. Two threads may look at the same time."""
    seen_at, queue = _seen.get(model, (-math.inf, None))
    if queue is not None and clock() - seen_at < FRESH_SECONDS:
        return queue
    queue = _read(model)
    _seen[model] = clock(), queue
    return queue


def _read(model: str) -> _Queue:
    queued = Generation.objects.filter(status=Status.QUEUED, model=model).order_by("turn_at", "pk")
    turns = list(queued.values_list("turn_at", "pk")[: MAX_POSITION + 1])
    # No more than the workers have begun.
    running_count = Generation.objects.filter(status=Status.RUNNING, model=model).count()
    speed = whole_seconds = None
    try:
        speed = admission.find_speed(model_name=model, limit_seconds=settings.SYNC_WAIT_SECONDS)
        if len(turns) > MAX_POSITION:
            whole_seconds = admission.predict_wait_seconds(
                model_name=model, limit_seconds=settings.SYNC_WAIT_SECONDS
            )
    except redis.RedisError as error:
        log.debug("the wait cannot be estimated without Redis: %s", error)
    return _Queue(turns, running_count, speed, whole_seconds)
