"""This process's connection to Redis, for what the work says to others beside its messages."""

from functools import cache

import redis
from django.conf import settings


@cache
def connection() -> redis.Redis:
    """A client that is safe for threads; each call ends within its timeout, and may raise redis.RedisError."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
