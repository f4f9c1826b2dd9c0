"""Registry of live GPU workers, their models and their speed. Each worker writes its entry to Redis periodically.

A worker that still loads its models has an entry too, and is listed apart, because it makes nothing yet.
"""

import time
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from workers.messaging import redis_client

# A worker writes every few seconds. After this time without an entry it does not count as alive.
MAX_SILENCE_SECONDS = 15
# Redis keeps no entry that is older than this.
MEMORY_SECONDS = 3600
_SEEN = "zekron:workers:seen"
_SPEEDS = "zekron:workers:speeds"
_DETAILS = "zekron:workers:details"
# The last speed of each model, also after its last worker has left: an autoscaler starts workers by it.
_LAST_SPEEDS = "zekron:models:speeds"
LAST_SPEEDS_SECONDS = 30 * 24 * 3600


class Details(NamedTuple):
    """A worker's report about itself.

    `models` maps each model to its seconds per image, or to None before the first image. `queues` are the Celery queues
    that it consumes. `busy_fraction` is its device's busy part of the last minute. `attempt_count` is the number of
    running attempts, and `claimed_at` the time of the last claim in Unix seconds. `code` is the build that it runs.
    `compilation` maps each model to how far it is compiled: plain, captured or compiled. `loading` are the models of a
    worker that does not work yet, and `started_at` the time in Unix seconds at which it began to load them.
    `loading_stage` is the present part of the loading, in words. `loading_fraction` is the part that is done, from 0 to
    1, or None while it is unknown.
    """

    models: Mapping[str, float | None]
    queues: Collection[str] = ()
    device: str = ""
    busy_fraction: float = 0.0
    attempt_count: int = 0
    claimed_at: float | None = None
    code: str = ""
    compilation: Mapping[str, str] = MappingProxyType({})
    loading: Collection[str] = ()
    started_at: float | None = None
    loading_stage: str = ""
    loading_fraction: float | None = None


class Worker(NamedTuple):
    """A live worker. `seconds_per_image` is None before its first image. Without details it has every model."""

    name: str
    seconds_per_image: float | None = None
    details: Details | None = None

    def makes(self, model_name: str) -> bool:
        """Return True if the worker has this model."""
        return self.details is None or model_name in self.details.models

    @property
    def is_loading(self) -> bool:
        """Return True if the worker still loads its models and makes nothing."""
        return bool(self.details and self.details.loading)

    def seconds_of(self, model_name: str) -> float | None:
        """Return the seconds per image of this model, or of all models if the worker does not report them apart."""
        return self.details.models.get(model_name) if self.details else self.seconds_per_image


def publish(
    *, worker_name: str, seconds_per_image: float | None = None, details: Details | None = None
) -> None:
    """Write the worker's entry with its speed and details. Raise RedisUnavailable."""
    now = time.time()
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        pipe.zadd(_SEEN, {worker_name: now})
        pipe.zremrangebyscore(_SEEN, "-inf", now - MEMORY_SECONDS)
        if seconds_per_image is not None:
            pipe.hset(_SPEEDS, worker_name, str(seconds_per_image))
            pipe.expire(_SPEEDS, MEMORY_SECONDS)
        if details is not None:
            told = details._asdict() | {"compilation": dict(details.compilation)}
            pipe.hset(_DETAILS, worker_name, orjson.dumps(told))
            pipe.expire(_DETAILS, MEMORY_SECONDS)
            if speeds := _known_speeds(details):
                pipe.hset(_LAST_SPEEDS, mapping=speeds)
                pipe.expire(_LAST_SPEEDS, LAST_SPEEDS_SECONDS)
        pipe.execute()


def remove(*, worker_name: str) -> None:
    """Remove the entry of a worker that has stopped. Raise RedisUnavailable. A second call changes nothing."""
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        pipe.zrem(_SEEN, worker_name)
        pipe.hdel(_SPEEDS, worker_name)
        pipe.hdel(_DETAILS, worker_name)
        pipe.execute()


def list_alive() -> list[Worker]:
    """Return the workers with an entry of the last MAX_SILENCE_SECONDS, which can work. Raise RedisUnavailable."""
    return [worker for worker in _list_entries() if not worker.is_loading]


def list_loading() -> list[Worker]:
    """Return the workers of the same time that still load their models. Raise RedisUnavailable."""
    return [worker for worker in _list_entries() if worker.is_loading]


def _known_speeds(details: Details) -> dict[Any, Any]:
    return {model: seconds for model, seconds in details.models.items() if seconds is not None}


def read_last_speeds() -> dict[str, float]:
    """Return the seconds per image of each model, as a worker last told them. Raise RedisUnavailable."""
    with redis_client.connection_or_unavailable() as connection:
        told: Any = connection.hgetall(_LAST_SPEEDS)
    return {name.decode(): float(seconds) for name, seconds in told.items()}


def _list_entries() -> list[Worker]:
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        pipe.zrangebyscore(_SEEN, time.time() - MAX_SILENCE_SECONDS, "+inf")
        pipe.hgetall(_SPEEDS)
        pipe.hgetall(_DETAILS)
        names, speeds, details = pipe.execute()
    return [
        Worker(
            name.decode(),
            float(speeds[name]) if name in speeds else None,
            _parse_details(orjson.loads(details[name])) if name in details else None,
        )
        for name in names
    ]


def _parse_details(told: dict[str, Any]) -> Details:
    """Read details that a worker of another release may have written, with more or fewer fields."""
    known = {field: told[field] for field in Details._fields if field in told}
    return Details(**{"models": {}, **known, "loading": tuple(known.get("loading", ()))})
