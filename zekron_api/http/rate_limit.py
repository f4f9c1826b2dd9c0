"""The published rate: 60 requests in any 60 seconds an account, counted in Redis in one atomic step."""

import math
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from rest_framework.exceptions import Throttled

from workers.messaging import redis_client

T = TypeVar("T")


class Rate(NamedTuple):
    """What the X-RateLimit headers say: `reset_at` is the Unix second from which the oldest request counts no more."""

    limit: int
    remaining: int
    reset_at: int


class RateExceeded(Throttled):
    """The account has sent its requests of this minute; one more is welcome in `wait_seconds`."""

    def __init__(self, rate: Rate) -> None:
        self.wait_seconds = max(1, rate.reset_at - math.floor(time.time()))
        self.rate = rate
        super().__init__(wait=self.wait_seconds)


def consume(*, account_id: int) -> Rate:
    """Counts one request of the account; raises RateExceeded when it is one too many.

    Without Redis each web process counts for itself, so the rate stays bounded by their number.
    """
    rate, admitted = _everywhere(_hit, account_id)
    if not admitted:
        raise RateExceeded(rate)
    return rate


def peek(*, account_id: int) -> Rate:
    """What `take` would find, counting nothing: for a request that is refused before it counts."""
    return _everywhere(_stats, account_id)


def _everywhere(work: Callable[[MovingWindowRateLimiter, RateLimitItem, str], T], account_id: int) -> T:
    item, name = RateLimitItemPerMinute(settings.REQUESTS_PER_MINUTE), str(account_id)
    try:
        with redis_client.connection_or_unavailable():
            return work(_shared(settings.REDIS_URL), item, name)
    except redis_client.RedisUnavailable:
        # The broker has said so in the log.
        return work(_own(), item, name)


def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, name: str) -> tuple[Rate, bool]:
    admitted = limiter.hit(item, name)
    return _stats(limiter, item, name), admitted


def _stats(limiter: MovingWindowRateLimiter, item: RateLimitItem, name: str) -> Rate:
    window = limiter.get_window_stats(item, name)
    return Rate(limit=item.amount, remaining=window.remaining, reset_at=math.ceil(window.reset_time))


@cache
def _shared(redis_url: str) -> MovingWindowRateLimiter:
    url = f"redis+{redis_url}" if redis_url.startswith("unix://") else redis_url
    storage = RedisStorage(url, key_prefix="zekron:rate", **redis_client.client_options())
    return MovingWindowRateLimiter(storage)


@cache
def _own() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())
