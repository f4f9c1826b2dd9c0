"""The limit of failed redemptions, by account and by client address, so that nobody finds a code by guessing."""

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerHour

from billing.models import Account
from zekron_api.http import rate_limit

_NAMESPACE: Final = "REDEMPTIONS"


class FailuresExceeded(rate_limit.RateExceeded):
    """The account, or the clients of its address, failed to redeem too many codes within the last hour."""


def refuse_guessing(*, account: Account, address: str | None) -> None:
    """Raise FailuresExceeded if there were too many failures, before a code is looked up."""
    for item, name in _counted(account, address):
        rate = rate_limit.look(item, name)
        if rate.remaining == 0:
            raise FailuresExceeded(rate)


def count_failure(*, account: Account, address: str | None) -> None:
    """Count a failure. Raise FailuresExceeded if it is one too many, so that requests at once learn no more."""
    counted = [rate_limit.count(item, name) for item, name in _counted(account, address)]
    for rate, is_admitted in counted:
        if not is_admitted:
            raise FailuresExceeded(rate)


def _counted(account: Account, address: str | None) -> Iterator[tuple[RateLimitItem, str]]:
    for limit, name in (
        (settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT, f"account:{account.pk}"),
        (settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ADDRESS, f"address:{address}"),
    ):
        yield RateLimitItemPerHour(limit, namespace=_NAMESPACE), name
