"""Image tokens: 64 hex digits that name a generation's image to its owner, derived from its id under a key."""

import hashlib
import hmac
from functools import cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def token_of(*, generation_id: int) -> str:
    """Return the token of a generation's image: HMAC-SHA-256 over the id, equal at every call."""
    # A page of the history has forty of them, and to key each anew would take seven times as long.
    mac = _keyed_mac(settings.SECRET_KEY).copy()
    mac.update(str(generation_id).encode())
    return mac.hexdigest()


def digest_of(*, token: str) -> str:
    """Return the token's SHA-256 in hex. The row keeps it alone, so that a copy of the database opens no image."""
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _keyed_mac(secret_key: str) -> hmac.HMAC:
    key = HKDF(SHA256(), length=32, salt=None, info=b"zekron image token").derive(secret_key.encode())
    return hmac.new(key, digestmod=hashlib.sha256)
