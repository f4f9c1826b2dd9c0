"""The database's entry in the settings, from DATABASE_URL and DATABASE_DIRECT_URL as environs reads them."""

from collections.abc import Mapping
from typing import Any, Final

from storage.postgresql import pooling, time_limits
from zekron_api.config.env import InvalidVariable

# Django's names of what both addresses must agree on, because the limits belong to the role in the database.
_SAME: Final = ("NAME", "USER")
_PLACE: Final = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}


def entry(database: Mapping[str, Any], *, direct: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the entry of Django's DATABASES. With `direct`, the first address is that of a PgBouncer.

    Options of an address, such as sslmode, win over the usual limits. Raises InvalidVariable.
    """
    limits = time_limits.CONNECTION if direct is None else time_limits.CLIENT
    made = {
        **database,
        "ENGINE": "storage.postgresql",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**limits, **database.get("OPTIONS", {})},
    }
    if direct is None:
        return made
    if any(direct.get(name) != database.get(name) for name in _SAME):
        raise InvalidVariable("DATABASE_DIRECT_URL", "names another user or database than DATABASE_URL")
    place = {name: direct[key] for key, name in _PLACE.items() if direct.get(key)}
    return {**made, pooling.DIRECT: {**time_limits.CONNECTION, **direct.get("OPTIONS", {}), **place}}
