"""API keys. Only this module writes them.

A key is `zk_live_`, 40 random base62 characters, and the CRC32 of all that as 6 characters. The checksum follows
GitHub's tokens, so that secret scanners recognise a key offline. The database stores an HMAC-SHA-256 of the key under
a pepper. The key's text exists only in the response that issues it. The next use of a key whose digest is under a
former pepper brings it under the present one.
"""

import logging
import secrets
import string
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from billing.grants import DEFAULT_GRANTS, Grants, check, check_name
from billing.models import Account, ApiKey
from billing.recent_keys import RecentKey, forget_after_commit, recent_keys
from billing.secret_keys import Pepper, with_each

log = logging.getLogger(__name__)

PREFIX: Final = "zk_live_"
BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH: Final = 40
CHECKSUM_LENGTH: Final = 6
# This is longer than any key, so a longer text is refused before it is hashed.
MAX_CHARACTERS: Final = 200
# The time of a key's use is written at most this often. With the time for which a process remembers a key, what people
# see is at most a minute old.
USE_SECONDS: Final = 50

_PEPPER: Final = Pepper(b"zekron billing api-key pepper 1")
_FIELDS: Final = Account._meta.concrete_fields
# In the order of the model's fields.
_REMEMBERED: Final = ("requests_per_minute", "open_limit", "queue_limit", "disabled_webhook_count")
_KNOWN_FIELDS: Final = ["id", "status", *_REMEMBERED]
_COLUMNS: Final = ", ".join(f"account.{field.column}" for field in _FIELDS)
_GRANTS: Final = tuple(field.name for field in fields(Grants))
_GRANTS_COLUMNS: Final = ", ".join(f"key.{name}" for name in _GRANTS)
# Most requests send this statement first. Django's ORM would compile it each time, at five times the cost of sending.
_LIVE: Final = f"""
SELECT {_COLUMNS}, {_GRANTS_COLUMNS}, key.id,
    extract(epoch FROM least(key.expires_at, CASE WHEN is_former THEN key.former_until END) - now)::float8,
    CASE WHEN is_former THEN key.former_pepper ELSE key.pepper END <> %(pepper)s
        OR coalesce(key.last_used_at <= now - interval '{USE_SECONDS} seconds', true)
        OR NOT (key.is_text_used OR is_former)
FROM billing_apikey AS key JOIN billing_account AS account ON account.id = key.account_id
    CROSS JOIN LATERAL (SELECT coalesce(%(now)s, statement_timestamp()) AS now,
        key.digest <> ALL(%(digests)s) AS is_former) AS used
WHERE (key.digest = ANY(%(digests)s) OR key.former_digest = ANY(%(digests)s) AND key.former_until > now)
    AND key.revoked_at IS NULL AND (key.expires_at IS NULL OR key.expires_at > now)
"""  # noqa: S608 (only column names of the models and a constant are inserted)
# It brings the digest under the present pepper, too. Nobody waits for it: a locked row is left to the next use.
_NOTE_USE: Final = """
UPDATE billing_apikey SET last_used_at = coalesce(%(now)s, statement_timestamp()),
    digest = CASE WHEN digest = ANY(%(digests)s) THEN %(digest)s ELSE digest END,
    pepper = CASE WHEN digest = ANY(%(digests)s) THEN %(pepper)s ELSE pepper END,
    is_text_used = is_text_used OR digest = ANY(%(digests)s),
    former_digest = CASE WHEN former_digest = ANY(%(digests)s) THEN %(digest)s ELSE former_digest END,
    former_pepper = CASE WHEN former_digest = ANY(%(digests)s) THEN %(pepper)s ELSE former_pepper END
WHERE id = (SELECT id FROM billing_apikey WHERE id = %(key_id)s AND revoked_at IS NULL FOR UPDATE SKIP LOCKED)
"""


class InvalidKey(Exception):
    """The text is not an API key of this service, or the key is revoked or expired."""


class AlreadyRevoked(Exception):
    """The key is already revoked."""


class LiveKey(NamedTuple):
    """A key that is neither revoked nor expired, its account and what it grants."""

    id: int
    account: Account
    grants: Grants


class NewText(NamedTuple):
    """A new text of a key, with the columns that recognise it."""

    text: str
    columns: dict[str, str]


def issue(
    *,
    account_id: int,
    name: str = "",
    grants: Grants = DEFAULT_GRANTS,
    metadata: Mapping[str, str] | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key and return it with its full text. The text cannot be recovered later. Raises InvalidGrant."""
    new = make_text()
    key = ApiKey.objects.create(
        account_id=account_id,
        name=check_name(name),
        metadata=metadata or {},
        **columns_of(grants),
        **new.columns,
    )
    return key, new.text


def make_text() -> NewText:
    """Make the text of a key."""
    start = PREFIX + "".join(secrets.choice(BASE62) for _ in range(RANDOM_LENGTH))
    text = start + checksum(start)
    columns = {
        "digest": digest(text),
        "pepper": _PEPPER.name(),
        "prefix": text[: len(PREFIX) + 4],
        "last_four": text[-4:],
    }
    return NewText(text, columns)


def columns_of(grants: Grants) -> dict[str, Any]:
    """Return the columns for the grants, in their normal form. Raises InvalidGrant."""
    checked = check(grants)
    return {name: _as_column(getattr(checked, name)) for name in _GRANTS}


def grants_of(key: ApiKey) -> Grants:
    """Return what the key grants."""
    return _grants(getattr(key, name) for name in _GRANTS)


def revoke(*, key_id: int, now: datetime | Now = Now()) -> None:
    """Revoke the key: in this process from its next use on, in others within MAX_AGE_SECONDS of `recent_keys`.

    Raises AlreadyRevoked or ApiKey.DoesNotExist.
    """
    if ApiKey.objects.filter(pk=key_id, revoked_at__isnull=True).update(revoked_at=now) != 1:
        raise AlreadyRevoked(f"Key {ApiKey.objects.get(pk=key_id).pk} is already revoked.")
    forget_after_commit()


def authenticate(*, text: str, now: datetime | None = None) -> LiveKey:
    """Return the key with its account, even a suspended one, with one query. Raises InvalidKey.

    A second one notes the use, unless that was done within USE_SECONDS.

    Any text that begins like a key is looked up, whatever its shape and checksum, so keys of an older shape stay
    valid. An unknown, a revoked and an expired key take the same work and give the same error.
    """
    _refuse_impossible(text)
    key, _ = _look_up(text, now)
    return key


def identify(*, text: str) -> LiveKey:
    """Return the key with its account as `authenticate` does, but for a key of a moment ago without a query.

    An account that was looked up up to MAX_AGE_SECONDS ago has only its id, its status, which is active, its own limits
    and the number of its disabled webhooks. Django reads any other field from the database when it is used, so no
    amount is ever old. A key's expiry is exact.
    """
    _refuse_impossible(text)
    wanted = digest(text)
    if (recent := recent_keys.find(wanted)) is not None:
        # Django takes the values in the order of the model's fields.
        known = [recent.account_id, Account.Status.ACTIVE, *recent.remembered]
        account = Account.from_db(DEFAULT_DB_ALIAS, _KNOWN_FIELDS, known)
        return LiveKey(recent.id, account, recent.grants)
    reading = recent_keys.start_reading()
    key, seconds_left = _look_up(text, None)
    if key.account.status == Account.Status.ACTIVE:
        remembered = tuple(getattr(key.account, name) for name in _REMEMBERED)
        recent = RecentKey(key.id, key.account.pk, remembered, key.grants)
        recent_keys.remember(wanted, key=recent, seconds_left=seconds_left, reading=reading)
    return key


def state_of(key: ApiKey, *, now: datetime) -> str:
    """Return `live`, `expired` or `revoked`."""
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "live"


def require_live(*, key_id: int, account_id: int) -> None:
    """Raise InvalidKey unless the account has this key, and it is neither revoked nor expired."""
    if not _list_live().filter(pk=key_id, account_id=account_id).exists():
        raise InvalidKey("This API key is revoked or expired.")


def find(*, text: str) -> ApiKey:
    """Return the key with this id, this full text or this prefix.

    Raises ApiKey.DoesNotExist, or ApiKey.MultipleObjectsReturned when several keys have the prefix.
    """
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return ApiKey.objects.get(pk=int(text))
    digests = _digests(text)
    return ApiKey.objects.get(Q(digest__in=digests) | Q(former_digest__in=digests) | Q(prefix=text))


def digest(text: str, *, secret_key: str | None = None) -> str:
    """Return the stored form of a key's text: its HMAC-SHA-256 under the pepper of the present secret key, in hex."""
    return _PEPPER.digest(text, secret_key=secret_key)


def count_by_secret_key() -> list[int]:
    """Return the number of live keys under each secret key of the ring, and last of those under an unknown one.

    A key with a former text that is still valid counts for both texts.
    """
    live = _list_live()
    counts = Counter(dict(live.values_list("pepper").annotate(Count("pk"))))
    former = live.filter(former_until__gt=Now()).values_list("former_pepper").annotate(Count("pk"))
    counts.update(dict(former))
    return _PEPPER.share_out(counts)


def checksum(text: str) -> str:
    """Return the CRC32 of the text in base62, as six characters with leading zeros."""
    rest, characters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters = BASE62[digit] + characters
    return characters


def _list_live() -> QuerySet[ApiKey]:
    """Return the keys that are neither revoked nor expired."""
    is_current = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
    return ApiKey.objects.filter(is_current, revoked_at__isnull=True).order_by()


def _refuse_impossible(text: str) -> None:
    if not text.startswith("zk_") or len(text) > MAX_CHARACTERS:
        raise InvalidKey("This is not an API key.")


def _digests(text: str) -> list[str]:
    return with_each(lambda secret_key: digest(text, secret_key=secret_key))


def _look_up(text: str, now: datetime | None) -> tuple[LiveKey, float | None]:
    """Return the key with this text, and the seconds until it expires."""
    digests = _digests(text)
    values_of_statement = {
        "digests": digests,
        "digest": digests[0],
        "pepper": _PEPPER.name(),
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, values_of_statement)
        row = cursor.fetchone()
    if row is None:
        raise InvalidKey("This API key is unknown, revoked or expired.")
    *values, key_id, seconds_left, is_stale = row
    if is_stale:
        _note_use({**values_of_statement, "key_id": key_id})
    names, count = [field.attname for field in _FIELDS], len(_FIELDS)
    account = Account.from_db(DEFAULT_DB_ALIAS, names, values[:count])
    return LiveKey(key_id, account, _grants(values[count:])), seconds_left


def _grants(values: Iterable[Any]) -> Grants:
    read: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(_GRANTS, values, strict=True)
    }
    return Grants(**read)


def _as_column(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _note_use(values: Mapping[str, Any]) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE_USE, values)
    except DatabaseError as error:
        if connection.in_atomic_block:
            raise
        # A database that takes no writes can still say whose key it is.
        log.warning("The use of a key could not be noted: %s", type(error).__name__)
