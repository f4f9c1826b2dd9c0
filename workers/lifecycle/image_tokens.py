"""Image tokens: 64 hex digits that name a generation's image to its owner, derived from its id under a key."""

import hashlib
import hmac
from functools import cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def token_of(*, generation_id: int) -> str:
    """Return the token of a generation's image: HMAC-SHA-256 over the id, equal at every call."""
    return hmac.new(_token_key(settings.SECRET_KEY), str(generation_id).encode(), hashlib.sha256).hexdigest()


def digest_of(*, token: str) -> str:
    """Return the token's SHA-256 in hex. The row keeps it alone, so that a copy of the database opens no image."""
    return hashlib.sha256(token.encode()).hexdigest()


@cache
def _token_key(secret_key: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"zekron image token").derive(secret_key.encode())
