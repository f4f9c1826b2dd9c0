"""The rate limit: the published 60 requests in any 60 seconds, or the account's own, and another one for polls.

Other limits may count here too.

Redis checks and counts a request in one atomic step.
"""

import math
import time
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Final, NamedTuple, TypeVar

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from rest_framework.exceptions import Throttled

from billing.limits import limits_of
from billing.models import Account
from workers.messaging import redis_client
from zekron_api.http.authentication import Caller

T = TypeVar("T")

WINDOW_SECONDS: Final = 60


class Scope(Enum):
    """The kinds of requests that count apart, so that who polls or verifies can still make the next image."""

    REQUESTS = "requests"
    POLLS = "polls"
    VERIFICATIONS = "verifications"
    MESSAGES = "messages"
    CONSOLE = "console"
    ACTS = "acts"


class Rate(NamedTuple):
    """The state of a limit; at the Unix second `reset_at` the oldest request stops counting."""

    limit: int
    remaining: int
    reset_at: int

    @property
    def reset_seconds(self) -> int:
        """The seconds after which one more request is certainly admitted, rounded up, and at least 1."""
        return max(1, self.reset_at - math.floor(time.time()))

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return the headers that tell the rate.

        Those without X are of draft-ietf-httpapi-ratelimit-headers, in the form that it has had since revision 08.
        """
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_at),
            "RateLimit-Policy": f'"{scope.value}";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{scope.value}";r={self.remaining};t={self.reset_seconds}',
        }


class RateExceeded(Throttled):
    """The account used up its requests of the last minute; the next one is admitted after `wait_seconds`."""

    def __init__(self, rate: Rate, *, counted: str = "account") -> None:
        self.wait_seconds = rate.reset_seconds
        self.rate = rate
        message = (
            f"This {counted} sent too many requests. At most {rate.limit} are allowed in {WINDOW_SECONDS} seconds."
            " Wait, then send it again."
        )
        super().__init__(detail=message)
        self.wait = self.wait_seconds


class PollsExceeded(RateExceeded):
    """The account used up its polls of the last minute."""


class MessagesExceeded(RateExceeded):
    """The account used up its messages to the MCP server of the last minute."""


_EXCEEDED: Final = {Scope.POLLS: PollsExceeded, Scope.MESSAGES: MessagesExceeded}


def consume(*, account: Account, caller: Caller | None = None, scope: Scope = Scope.REQUESTS) -> Rate:
    """Count one request of the account; raise RateExceeded, or its subclass for the scope, when it is over the limit.

    A key with a limit of its own counts its requests too, and the rate is that of which fewer remain. Without Redis
    each web process counts for itself, so their number bounds the rate.
    """
    own = _consume_own(caller) if caller is not None and scope is Scope.REQUESTS else None
    rate, admitted = count(*_counted(scope, account))
    if not admitted:
        raise _EXCEEDED.get(scope, RateExceeded)(rate)
    return rate if own is None or rate.remaining < own.remaining else own


def peek(*, account: Account, scope: Scope = Scope.REQUESTS) -> Rate:
    """Return the rate without counting, for a request that is refused before it counts."""
    return look(*_counted(scope, account))


def look(item: RateLimitItem, name: str) -> Rate:
    """Return the rate of a limit of this name without counting."""
    return _everywhere(_stats, item, name)


def count(item: RateLimitItem, name: str) -> tuple[Rate, bool]:
    """Count one event under a limit of this name, and return the rate and whether the limit admits it."""
    return _everywhere(_hit, item, name)


def _consume_own(caller: Caller) -> Rate | None:
    """Count one request under the key's own limit, if it has one. Raise RateExceeded."""
    limit = caller.grants.requests_per_minute
    if limit is None:
        return None
    rate, admitted = count(RateLimitItemPerMinute(limit), f"key:{caller.key_id}")
    if not admitted:
        raise RateExceeded(rate, counted="API key")
    return rate


def _counted(scope: Scope, account: Account) -> tuple[RateLimitItem, str]:
    if scope is Scope.POLLS:
        return RateLimitItemPerMinute(settings.POLLS_PER_MINUTE), f"polls:{account.pk}"
    if scope is Scope.VERIFICATIONS:
        return RateLimitItemPerMinute(settings.VERIFICATIONS_PER_MINUTE), f"verifications:{account.pk}"
    if scope is Scope.MESSAGES:
        return RateLimitItemPerMinute(settings.MESSAGES_PER_MINUTE), f"messages:{account.pk}"
    if scope is Scope.CONSOLE:
        return RateLimitItemPerMinute(settings.CONSOLE_REQUESTS_PER_MINUTE), f"console:{account.pk}"
    if scope is Scope.ACTS:
        return RateLimitItemPerMinute(settings.ACTS_PER_MINUTE), f"acts:{account.pk}"
    return RateLimitItemPerMinute(limits_of(account).requests_per_minute), str(account.pk)


def _everywhere(
    work: Callable[[MovingWindowRateLimiter, RateLimitItem, str], T], item: RateLimitItem, name: str
) -> T:
    try:
        with redis_client.connection_or_unavailable():
            return work(_shared(settings.REDIS_URL), item, name)
    except redis_client.RedisUnavailable:
        # The circuit breaker of redis_client has logged it.
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
