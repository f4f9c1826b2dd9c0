"""Image tokens: 64 hex digits that name a generation's image to its owner, derived from its id under a key."""

import hashlib
import hmac
from functools import cache, partial

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from billing import secret_keys


def token_of(*, generation_id: int, digest: str | None = None) -> str:
    """Return the token of a generation's image: HMAC-SHA-256 over the id, equal at every call.

    `digest` is what the row keeps of the token. A row that was completed under a former secret key has a token of that
    key.
    """
    if digest is None or not settings.SECRET_KEY_FALLBACKS:
        return _make(generation_id, settings.SECRET_KEY)
    tokens = secret_keys.with_each(partial(_make, generation_id))
    return next((token for token in tokens if digest_of(token=token) == digest), tokens[0])


def digest_of(*, token: str) -> str:
    """Return the token's SHA-256 in hex. The row keeps it alone, so that a copy of the database opens no image."""
    return hashlib.sha256(token.encode()).hexdigest()


def _make(generation_id: int, secret_key: str) -> str:
    # A page of the history has forty of them, and to key each anew would take seven times as long.
    mac = _keyed_mac(secret_key).copy()
    mac.update(str(generation_id).encode())
    return mac.hexdigest()


@cache
def _keyed_mac(secret_key: str) -> hmac.HMAC:
    key = HKDF(SHA256(), length=32, salt=None, info=b"zekron image token").derive(secret_key.encode())
    return hmac.new(key, digestmod=hashlib.sha256)
