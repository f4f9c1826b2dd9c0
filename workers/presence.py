"""Which GPU workers are alive: each writes its name and the time to one sorted set in Redis."""

import time

from workers.broker import connection

# A worker writes every few seconds; one that has been silent this long does not count as alive.
SILENCE_LIMIT_SECONDS = 15
_KEY = "zekron:workers"


def show(*, worker_name: str) -> None:
    """Notes that this worker lives; raises redis.RedisError when Redis is away."""
    now = time.time()
    with connection().pipeline(transaction=False) as pipe:
        pipe.zadd(_KEY, {worker_name: now})
        pipe.zremrangebyscore(_KEY, "-inf", now - 3600)
        pipe.execute()


def leave(*, worker_name: str) -> None:
    """Notes that this worker has stopped; raises redis.RedisError when Redis is away."""
    connection().zrem(_KEY, worker_name)


def alive_count() -> int:
    """How many workers have shown themselves lately; raises redis.RedisError when Redis is away."""
    return int(connection().zcount(_KEY, time.time() - SILENCE_LIMIT_SECONDS, "+inf"))
