"""Keys that issue and change keys of their account. None grants more than it has itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from billing import accounts, key_changes, keys
from billing.grants import DEFAULT_SCOPES, Grants, Scope, find_excess
from billing.models import ApiKey

# Keys that are not revoked. Staff may issue more.
MAX_KEYS: Final = 100


class NotGranted(Exception):
    """The key that asks does not grant as much itself. `field` is the name in `Grants`."""

    def __init__(self, field: str) -> None:
        super().__init__(f"The key does not grant as much itself in {field}.")
        self.field = field


class TooManyKeys(Exception):
    """The account has MAX_KEYS keys."""


def issue(
    *, holder_id: int, account_id: int, name: str, changes: Mapping[str, Any], metadata: Mapping[str, str]
) -> tuple[ApiKey, str]:
    """Issue a key with the holder's bounds and the default scopes, but for the `changes`, and return it and its text.

    The limits of spending alone are not the holder's, which has none. Raises InvalidKey if the holder is not live any
    more, NotGranted, TooManyKeys and InvalidGrant.
    """
    with _holding(holder_id, account_id) as held:
        scopes = tuple(scope for scope in DEFAULT_SCOPES if scope in held.scopes)
        wanted = replace(held, **{"scopes": scopes, "spend_limit_micros": None, **changes})
        _require(held, wanted)
        if ApiKey.objects.filter(account_id=account_id, revoked_at__isnull=True).count() >= MAX_KEYS:
            raise TooManyKeys
        return keys.issue(account_id=account_id, name=name, grants=wanted, metadata=metadata)


def change(
    *,
    holder_id: int,
    account_id: int,
    key_id: int,
    name: str | None = None,
    changes: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> ApiKey:
    """Change a key, and return it. What is not given stays as it is.

    Raises InvalidKey if the holder is not live any more, ApiKey.DoesNotExist, AlreadyRevoked, NotGranted if the key
    grants more than the holder before or after the change, and InvalidGrant.
    """
    with _holding(holder_id, account_id) as held:
        before = keys.grants_of(_find(held, account_id, key_id))
        _require(held, replace(before, **changes))
        return key_changes.change(key_id=key_id, name=name, grants=changes, metadata=metadata)


def rotate(*, holder_id: int, account_id: int, key_id: int, overlap: timedelta) -> tuple[ApiKey, str]:
    """Give a key a new text, and return both. The errors are those of `change`, and ValueError for the overlap."""
    with _holding(holder_id, account_id) as held:
        _find(held, account_id, key_id)
        return key_changes.rotate(key_id=key_id, overlap=overlap)


def revoke(*, holder_id: int, account_id: int, key_id: int) -> None:
    """Revoke a key. One that is already revoked stays so. The other errors are those of `change`."""
    with _holding(holder_id, account_id) as held:
        if _find(held, account_id, key_id).revoked_at is None:
            keys.revoke(key_id=key_id)


@contextmanager
def _holding(holder_id: int, account_id: int) -> Iterator[Grants]:
    """Lock the account in a transaction, so that no key of it changes meanwhile, and give what the holder grants.

    Raises InvalidKey if the holder is not live any more, and NotGranted if it manages no keys any more.
    """
    with transaction.atomic():
        accounts.lock(account_id=account_id)
        keys.require_live(key_id=holder_id, account_id=account_id)
        held = keys.grants_of(ApiKey.objects.get(pk=holder_id))
        # A process may remember for some seconds what the key no longer grants.
        if Scope.KEYS not in held.scopes:
            raise NotGranted("scopes")
        yield held


def _find(held: Grants, account_id: int, key_id: int) -> ApiKey:
    key = ApiKey.objects.get(pk=key_id, account_id=account_id)
    _require(held, keys.grants_of(key))
    return key


def _require(held: Grants, wanted: Grants) -> None:
    if field := find_excess(held, wanted):
        raise NotGranted(field)
