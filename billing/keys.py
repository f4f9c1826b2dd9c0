"""API keys: the only module that writes them. A key's text exists once, in the reply to its issue.

A key is `zk_live_`, 40 random base62 characters, and 6 of the CRC32 of what stands before, as GitHub's tokens
have, so that scanners of leaked secrets know one without asking. At rest is an HMAC-SHA-256 under a pepper.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Q
from django.db.models.functions import Now

from billing.models import Account, ApiKey

PREFIX = "zk_live_"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 40
CHECKSUM_LENGTH = 6
# Longer than any key; what is beyond it is not worth hashing.
MAX_CHARACTERS = 200

_FIELDS = Account._meta.concrete_fields
_COLUMNS = ", ".join(f"account.{field.column}" for field in _FIELDS)
# Every request asks this first; Django would write the statement anew for each, at five times what it costs to send it.
_LIVE = f"""
SELECT {_COLUMNS} FROM billing_apikey AS key JOIN billing_account AS account ON account.id = key.account_id
WHERE key.digest = %(digest)s AND key.revoked_at IS NULL
    AND (key.expires_at IS NULL OR key.expires_at > coalesce(%(now)s, statement_timestamp()))
"""  # noqa: S608 (names of columns, of the model alone)


class InvalidKey(Exception):
    """The text is no key of ours, or one that was revoked or has expired."""


class AlreadyRevoked(Exception):
    """The key was revoked before."""


def issue(*, account_id: int, name: str = "", expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """A new key and its full text, which cannot be had again."""
    start = PREFIX + "".join(secrets.choice(BASE62) for _ in range(RANDOM_LENGTH))
    text = start + checksum(start)
    key = ApiKey.objects.create(
        account_id=account_id,
        name=name.strip(),
        digest=digest(text),
        prefix=text[: len(PREFIX) + 4],
        last_four=text[-4:],
        expires_at=expires_at,
    )
    return key, text


def revoke(*, key_id: int, now: datetime | Now = Now()) -> None:
    """Ends the key from its next use on. Raises AlreadyRevoked, ApiKey.DoesNotExist."""
    if ApiKey.objects.filter(pk=key_id, revoked_at__isnull=True).update(revoked_at=now) != 1:
        raise AlreadyRevoked(f"Key {ApiKey.objects.get(pk=key_id).pk} was revoked before.")


def authenticate(*, text: str, now: datetime | None = None) -> Account:
    """The account that the key speaks for, even a suspended one, by one query. Raises InvalidKey.

    Any text that begins like a key is looked up, whatever its shape and checksum: keys of an older shape stay
    valid, and an unknown, a revoked and an expired key cost the same work and end the same way.
    """
    if not text.startswith("zk_") or len(text) > MAX_CHARACTERS:
        raise InvalidKey("This is not a key.")
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, {"digest": digest(text), "now": now})
        row = cursor.fetchone()
    if row is None:
        raise InvalidKey("This key is unknown, revoked or expired.")
    return Account.from_db(DEFAULT_DB_ALIAS, [field.attname for field in _FIELDS], row)


def find(*, text: str) -> ApiKey:
    """The key with this id, this whole text, or this prefix. Raises DoesNotExist, MultipleObjectsReturned."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return ApiKey.objects.get(pk=int(text))
    return ApiKey.objects.get(Q(digest=digest(text)) | Q(prefix=text))


def digest(text: str) -> str:
    """What is stored of a key's text: HMAC-SHA-256 in hex under the pepper."""
    return hmac.new(
        _pepper(settings.SECRET_KEY), text.encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()


def checksum(text: str) -> str:
    """CRC32 of the text in base62, six characters with leading zeros."""
    rest, characters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters = BASE62[digit] + characters
    return characters


@lru_cache(maxsize=4)
def _pepper(secret_key: str) -> bytes:
    """A key of its own purpose (HKDF, RFC 5869), so that no other use of SECRET_KEY can make a digest."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"zekron billing api-key pepper 1").derive(
        secret_key.encode()
    )
