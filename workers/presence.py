"""Which GPU workers live, and how fast each is: they write it to Redis every few seconds."""

import time
from typing import NamedTuple

from workers import broker

# A worker writes every few seconds; one that has been silent this long does not count as alive.
SILENCE_LIMIT_SECONDS = 15
# What is older than this is forgotten altogether.
MEMORY_SECONDS = 3600
_SEEN = "zekron:workers:seen"
_SPEEDS = "zekron:workers:speeds"


class Worker(NamedTuple):
    """A live worker; `seconds_per_image` is None until it has made one."""

    name: str
    seconds_per_image: float | None


def show(*, worker_name: str, seconds_per_image: float | None = None) -> None:
    """Notes that this worker lives, and its speed; raises broker.Away when Redis is."""
    now = time.time()
    with broker.asking() as connection, connection.pipeline(transaction=False) as pipe:
        pipe.zadd(_SEEN, {worker_name: now})
        pipe.zremrangebyscore(_SEEN, "-inf", now - MEMORY_SECONDS)
        if seconds_per_image is not None:
            pipe.hset(_SPEEDS, worker_name, str(seconds_per_image))
            pipe.expire(_SPEEDS, MEMORY_SECONDS)
        pipe.execute()


def leave(*, worker_name: str) -> None:
    """Notes that this worker has stopped; raises broker.Away when Redis is."""
    with broker.asking() as connection, connection.pipeline(transaction=False) as pipe:
        pipe.zrem(_SEEN, worker_name)
        pipe.hdel(_SPEEDS, worker_name)
        pipe.execute()


def alive() -> list[Worker]:
    """The workers that have shown themselves lately; raises broker.Away when Redis is."""
    with broker.asking() as connection, connection.pipeline(transaction=False) as pipe:
        pipe.zrangebyscore(_SEEN, time.time() - SILENCE_LIMIT_SECONDS, "+inf")
        pipe.hgetall(_SPEEDS)
        names, speeds = pipe.execute()
    return [Worker(name.decode(), float(speeds[name]) if name in speeds else None) for name in names]
