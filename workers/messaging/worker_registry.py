"""Which GPU workers live, what each can make and how fast it is: they write it to Redis every few seconds."""

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson

from workers.messaging import redis_client

# A worker writes every few seconds; one that has been silent this long does not count as alive.
MAX_SILENCE_SECONDS = 15
# What is older than this is forgotten altogether.
MEMORY_SECONDS = 3600
_SEEN = "zekron:workers:seen"
_SPEEDS = "zekron:workers:speeds"
_DETAILS = "zekron:workers:details"


class Details(NamedTuple):
    """What a worker says of itself: seconds per image by model, None for one it has made nothing with; the queues that
    it consumes; the part of the last minute that its device was busy; the attempts that run, and when the last of them
    was claimed, in Unix seconds; and which code it runs.
    """

    models: Mapping[str, float | None]
    queues: Collection[str] = ()
    device: str = ""
    busy_fraction: float = 0.0
    attempt_count: int = 0
    claimed_at: float | None = None
    code: str = ""


class Worker(NamedTuple):
    """A live worker; `seconds_per_image` is None until it has made one. One without details can make everything."""

    name: str
    seconds_per_image: float | None = None
    details: Details | None = None

    def makes(self, model_name: str) -> bool:
        """Whether it has this model."""
        return self.details is None or model_name in self.details.models

    def seconds_of(self, model_name: str) -> float | None:
        """How long an image of this model takes it, or of any where it does not tell them apart."""
        return self.details.models.get(model_name) if self.details else self.seconds_per_image


def show(*, worker_name: str, seconds_per_image: float | None = None, details: Details | None = None) -> None:
    """Notes that this worker lives, and what it says of itself; raises broker.Away when Redis is."""
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
            pipe.hset(_DETAILS, worker_name, orjson.dumps(details._asdict()))
            pipe.expire(_DETAILS, MEMORY_SECONDS)
        pipe.execute()


def leave(*, worker_name: str) -> None:
    """Notes that this worker has stopped; raises broker.Away when Redis is."""
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        pipe.zrem(_SEEN, worker_name)
        pipe.hdel(_SPEEDS, worker_name)
        pipe.hdel(_DETAILS, worker_name)
        pipe.execute()


def alive() -> list[Worker]:
    """The workers that have shown themselves lately; raises broker.Away when Redis is."""
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
            _details(orjson.loads(details[name])) if name in details else None,
        )
        for name in names
    ]


def _details(told: dict[str, Any]) -> Details:
    """A worker of another release may tell more, or less."""
    return Details(**{"models": {}, **{field: told[field] for field in Details._fields if field in told}})
