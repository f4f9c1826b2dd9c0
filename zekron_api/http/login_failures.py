"""The lockout of a name from an address after too many failed logins.

It counts in Django's cache, which is a table: for all web processes, and also while Redis is away.
"""

from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction

from zekron_api.http import login_limit

_PREFIX: Final = "login-failures"
# Only one login of a pair counts at a time, so that guesses at once are counted one by one.
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class LockedOut(Exception):
    """Too many logins with this name from this address failed."""


def begin(*, address: str | None, name: str) -> None:
    """Count a login as failed before its password is looked at. Raises LockedOut, and then counts nothing.

    A lockout therefore ends after its time, however often somebody tries meanwhile.
    """
    key = _key(address, name)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [key])
        count = cache.get(key, 0)
        if count >= settings.LOGIN_FAILURES:
            raise LockedOut
        cache.set(key, count + 1, settings.LOGIN_LOCKOUT.total_seconds())


def is_locked_out(*, address: str | None, name: str) -> bool:
    """Return whether no more logins of this pair are looked at."""
    return bool(cache.get(_key(address, name), 0) >= settings.LOGIN_FAILURES)


def forget(*, address: str | None, name: str) -> None:
    """Forget the failures of this pair, after a login that succeeded."""
    cache.delete(_key(address, name))


def _key(address: str | None, name: str) -> str:
    return f"{_PREFIX}:{address}:{login_limit.digest_of(name)}"
