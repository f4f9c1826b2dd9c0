"""The limits of an account: its own ones, or else the published ones, which the settings have."""

from typing import NamedTuple, TypedDict, Unpack, cast

from django.conf import settings

from billing.bounds import MAX_OPEN, MAX_REQUESTS_PER_MINUTE, MIN_LIMIT
from billing.models import Account
from billing.recent_keys import forget_after_commit


class Limits(NamedTuple):
    """The most requests in any 60 seconds, and the most open generations, synchronous and asynchronous ones."""

    requests_per_minute: int
    open_generations: int
    open_asynchronous: int

    def open_limit(self, *, is_async: bool) -> int:
        """Return the limit of open generations of this kind."""
        return self.open_asynchronous if is_async else self.open_generations

    def describe(self) -> str:
        """Return the limits for people."""
        return (
            f"{self.requests_per_minute} requests a minute, {self.open_generations} open generations,"
            f" {self.open_asynchronous} asynchronous ones"
        )


class Change(TypedDict, total=False):
    """Limits of an account's own by their columns. None stands for the published one."""

    requests_per_minute: int | None
    open_limit: int | None
    queue_limit: int | None


def published() -> Limits:
    """Return the limits of an account that has none of its own."""
    return Limits(settings.REQUESTS_PER_MINUTE, settings.OPEN_GENERATIONS_LIMIT, settings.QUEUE_LIMIT)


def limits_of(account: Account) -> Limits:
    """Return the limits that hold for the account."""
    own = (account.requests_per_minute, account.open_limit, account.queue_limit)
    return Limits(*(theirs if mine is None else mine for mine, theirs in zip(own, published(), strict=True)))


def set_limits(*, account_id: int, **own: Unpack[Change]) -> None:
    """Give the account limits of its own. Those that are not named stay as they are.

    New work is held to them from the commit on. The rate of requests follows in this process from the commit on, and in
    others within MAX_AGE_SECONDS of `recent_keys`. Raises ValueError for a limit out of bounds, and
    Account.DoesNotExist.
    """
    for column, value in own.items():
        most = MAX_REQUESTS_PER_MINUTE if column == "requests_per_minute" else MAX_OPEN
        if value is not None and not MIN_LIMIT <= cast(int, value) <= most:
            raise ValueError(f"{column} must be from {MIN_LIMIT} to {most}, not {value}.")
    if Account.objects.filter(pk=account_id).update(**own) != 1:
        raise Account.DoesNotExist(f"Account {account_id} does not exist.")
    forget_after_commit()
