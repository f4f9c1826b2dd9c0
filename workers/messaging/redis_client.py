"""Redis client of this process, and its circuit breaker. Celery's publishing shares the circuit breaker.

It knows no keys and no channels.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from kombu.exceptions import LimitExceeded, OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 2.0
# The limit is above any number of threads. A thread without a connection would report Redis as unavailable.
MAX_CONNECTIONS: Final = 1000
# After a failure, no command is sent to Redis for this time. Otherwise each request would wait for the timeout.
REST_SECONDS: Final = 5.0


class RedisUnavailable(redis.ConnectionError):
    """Redis did not answer, now or a moment ago. The command or message is lost."""


class CircuitBreaker:
    """Circuit breaker of this process for Redis. It logs when Redis stops answering and when it answers again."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._resting_until: float | None = None

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run one command or publish in the block, and raise RedisUnavailable when it fails.

        The guard also raises RedisUnavailable at once, before the block, while Redis rests from an earlier failure.
        """
        if self._rests():
            raise RedisUnavailable("Redis did not answer a moment ago.")
        try:
            yield
        except (redis.RedisError, OperationalError, LimitExceeded) as error:
            self._note(error)
            raise RedisUnavailable(str(error)) from error
        self._note(None)

    def _rests(self) -> bool:
        with self._lock:
            if self._resting_until is None:
                return False
            if self._clock() < self._resting_until:
                return True
            # This caller alone tests Redis. All other callers are refused until it has an answer.
            self._resting_until = self._clock() + REST_SECONDS
            return False

    def _note(self, error: Exception | None) -> None:
        with self._lock:
            was_away = self._resting_until is not None
            self._resting_until = self._clock() + REST_SECONDS if error else None
        if error and not was_away:
            log.warning(
                "Redis is away. Rates are counted in this process alone, and the sweep sends hints. %s", error
            )
        elif was_away and not error:
            log.warning("Redis is back")


@contextmanager
def connection_or_unavailable() -> Iterator[redis.Redis]:
    """Give the connection to a block that runs one command or pipeline. Raise RedisUnavailable if it fails.

    After a failure it raises at once, without a command, for REST_SECONDS.
    """
    with circuit_breaker().guard():
        yield connection()


def circuit_breaker() -> CircuitBreaker:
    """Return this process's circuit breaker for Redis, which also guards Celery's publishing."""
    return _circuit_breaker(settings.REDIS_URL)


def connection() -> redis.Redis:
    """Return the thread-safe client. Each call ends within its timeout, and may raise redis.RedisError."""
    return _connection(settings.REDIS_URL)


def client_options() -> dict[str, Any]:
    """Return arguments for a Redis client: a short timeout, no retry, and connections for any number of threads."""
    return {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": MAX_CONNECTIONS,
    }


@cache
def _connection(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, **client_options())


@cache
def _circuit_breaker(url: str) -> CircuitBreaker:
    return CircuitBreaker()
