"""The ring of secret keys: the present one makes digests and tokens, and former ones still recognise theirs."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

T = TypeVar("T")


class Pepper:
    """The peppers of one kind of secret text: a key of HMAC-SHA-256 derived from each secret key.

    `purpose` keeps a digest of one kind from being one of another.
    """

    def __init__(self, purpose: bytes) -> None:
        self._purpose = purpose

    def digest(self, text: str, *, secret_key: str | None = None) -> str:
        """Return the stored form of a text in hex, under the present secret key or under another one."""
        pepper = _derive(self._purpose, settings.SECRET_KEY if secret_key is None else secret_key)
        return hmac.new(pepper, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def name(self) -> str:
        """Return a name of the present pepper, which tells nothing of it."""
        return _name(self._purpose, settings.SECRET_KEY)

    def share_out(self, counts: Mapping[str, int]) -> list[int]:
        """Return the counts by name under each secret key of the ring, and last the sum under unknown ones."""
        left = dict(counts)
        known = with_each(lambda secret_key: left.pop(_name(self._purpose, secret_key), 0))
        return [*known, sum(left.values())]


def with_each(make: Callable[[str], T]) -> list[T]:
    """Return what `make` makes of each secret key, first of the present one."""
    return [make(secret_key) for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


@lru_cache(maxsize=32)
def _name(purpose: bytes, secret_key: str) -> str:
    return hmac.new(_derive(purpose, secret_key), b"name of the pepper", hashlib.sha256).hexdigest()[:8]


@lru_cache(maxsize=32)
def _derive(purpose: bytes, secret_key: str) -> bytes:
    """Derive the pepper from a secret key (HKDF, RFC 5869), so no other use of that key can make a digest."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())
