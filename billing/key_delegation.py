"""Keys and people that issue and change keys of their account. Nobody grants more than they have themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from billing import accounts, key_changes, keys, memberships
from billing.grants import DEFAULT_SCOPES, Grants, Scope, find_excess
from billing.membership_models import Membership
from billing.models import ApiKey

# Keys that are not revoked. Staff may issue more.
MAX_KEYS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The one who manages keys of the account: a key of it, or a person of it. The other id is None."""

    account_id: int
    key_id: int | None = None
    person_id: int | None = None


class NotGranted(Exception):
    """The holder does not have as much in its own grants. `field` is the name in `Grants`."""

    def __init__(self, field: str) -> None:
        super().__init__(f"The holder does not have as much itself in {field}.")
        self.field = field


class TooManyKeys(Exception):
    """The account has MAX_KEYS keys."""


def issue(
    *, holder: Holder, name: str, changes: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> tuple[ApiKey, str]:
    """Issue a key with the holder's bounds and the default scopes, but for the `changes`, and return it and its text.

    The limits of spending alone are not the holder's, which has none. Raises InvalidKey if the holder is not live any
    more, NotGranted, TooManyKeys and InvalidGrant.
    """
    with _holding(holder) as held:
        scopes = tuple(scope for scope in DEFAULT_SCOPES if scope in held.scopes)
        wanted = replace(held, **{"scopes": scopes, "spend_limit_micros": None, **changes})
        _require(held, wanted)
        if ApiKey.objects.filter(account_id=holder.account_id, revoked_at__isnull=True).count() >= MAX_KEYS:
            raise TooManyKeys
        return keys.issue(account_id=holder.account_id, name=name, grants=wanted, metadata=metadata)


def change(
    *,
    holder: Holder,
    key_id: int,
    name: str | None = None,
    changes: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> ApiKey:
    """Change a key, and return it. What is not given stays as it is.

    Raises InvalidKey if the holder is not live any more, ApiKey.DoesNotExist, AlreadyRevoked, NotGranted if the key
    grants more than the holder before or after the change, and InvalidGrant.
    """
    with _holding(holder) as held:
        before = keys.grants_of(_find(held, holder.account_id, key_id))
        _require(held, replace(before, **changes))
        return key_changes.change(key_id=key_id, name=name, grants=changes, metadata=metadata)


def rotate(*, holder: Holder, key_id: int, overlap: timedelta) -> tuple[ApiKey, str]:
    """Give a key a new text, and return both. The errors are those of `change`, and ValueError for the overlap."""
    with _holding(holder) as held:
        _find(held, holder.account_id, key_id)
        return key_changes.rotate(key_id=key_id, overlap=overlap)


def revoke(*, holder: Holder, key_id: int) -> None:
    """Revoke a key. One that is already revoked stays so. The other errors are those of `change`."""
    with _holding(holder) as held:
        if _find(held, holder.account_id, key_id).revoked_at is None:
            keys.revoke(key_id=key_id)


@contextmanager
def _holding(holder: Holder) -> Iterator[Grants]:
    """Lock the account in a transaction, so that nobody else changes its keys or people. Give the holder's grants.

    Raises InvalidKey if a holding key is not live any more, and NotGranted if the holder manages no keys any more.
    """
    with transaction.atomic():
        accounts.lock(account_id=holder.account_id)
        held = _grants_of(holder)
        # A process may remember for some seconds what a key no longer grants.
        if Scope.KEYS not in held.scopes:
            raise NotGranted("scopes")
        yield held


def _grants_of(holder: Holder) -> Grants:
    if holder.key_id is not None:
        keys.require_live(key_id=holder.key_id, account_id=holder.account_id)
        return keys.grants_of(ApiKey.objects.get(pk=holder.key_id))
    assert holder.person_id is not None, "a holder is a key or a person"
    try:
        membership = memberships.find(user_id=holder.person_id, account_id=holder.account_id)
    except Membership.DoesNotExist:
        raise NotGranted("scopes") from None
    return memberships.grants_of(membership.role)


def _find(held: Grants, account_id: int, key_id: int) -> ApiKey:
    key = ApiKey.objects.get(pk=key_id, account_id=account_id)
    _require(held, keys.grants_of(key))
    return key


def _require(held: Grants, wanted: Grants) -> None:
    if field := find_excess(held, wanted):
        raise NotGranted(field)
