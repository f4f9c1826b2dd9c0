"""The published rate: 60 requests in any 60 seconds an account, counted in Redis in one atomic step."""

import logging
import math
import time
from functools import cache
from typing import NamedTuple

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from rest_framework.exceptions import Throttled

log = logging.getLogger(__name__)


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


def take(*, account_id: int) -> Rate:
    """Counts one request of the account; raises RateExceeded when it is one too many.

    Without Redis each web process counts for itself, so the rate stays bounded by their number.
    """
    item = RateLimitItemPerMinute(settings.REQUESTS_PER_MINUTE)
    try:
        return _take(_shared(settings.REDIS_URL), item, account_id)
    except StorageError as error:
        log.warning("rates are counted in this process alone, Redis is away: %s", error)
        return _take(_own(), item, account_id)


def _take(limiter: MovingWindowRateLimiter, item: RateLimitItem, account_id: int) -> Rate:
    admitted = limiter.hit(item, str(account_id))
    window = limiter.get_window_stats(item, str(account_id))
    rate = Rate(limit=item.amount, remaining=window.remaining, reset_at=math.ceil(window.reset_time))
    if not admitted:
        raise RateExceeded(rate)
    return rate


@cache
def _shared(redis_url: str) -> MovingWindowRateLimiter:
    url = f"redis+{redis_url}" if redis_url.startswith("unix://") else redis_url
    storage = RedisStorage(
        url, wrap_exceptions=True, key_prefix="zekron:rate", socket_timeout=2, socket_connect_timeout=2
    )
    return MovingWindowRateLimiter(storage)


@cache
def _own() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())
