"""Content keys wrapped by master keys (AES-KW, RFC 3394).

The module knows settings.MASTER_KEYS, no image and no row. The first master key wraps, and every master key unwraps.
A new master key is put first, and the old one stays until it wraps no content key.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from django.conf import settings


class KeyRefused(Exception):
    """The wrapped key does not open under the named master key."""


class WrappedKey(NamedTuple):
    """A content key as the row stores it, with the id of the master key that opens it."""

    master_key_id: str
    wrapped_key: bytes


def wrap(*, content_key: bytes) -> WrappedKey:
    """Wrap `content_key` by the first master key. The wrapped key is 8 bytes longer."""
    master_key_id, master_key = next(iter(_master_keys().items()))
    return WrappedKey(master_key_id, aes_key_wrap(master_key, content_key))


def unwrap(*, master_key_id: str, wrapped_key: bytes) -> bytes:
    """Return the content key.

    Raises KeyRefused when the master key is not on the ring or is not the one that wrapped the content key.
    """
    master_key = _master_keys().get(master_key_id)
    if master_key is None:
        raise KeyRefused
    try:
        return aes_key_unwrap(master_key, wrapped_key)
    except InvalidUnwrap:
        raise KeyRefused from None


def unwrap_by_any(*, master_key_id: str, wrapped_key: bytes) -> tuple[str, bytes]:
    """Return the id of the master key that opens the wrapped key, and the content key.

    Tries the named master key first and then every other. Raises KeyRefused when none on the ring opens it.
    """
    for candidate_id in sorted(_master_keys(), key=lambda key_id: key_id != master_key_id):
        try:
            return candidate_id, unwrap(master_key_id=candidate_id, wrapped_key=wrapped_key)
        except KeyRefused:
            continue
    raise KeyRefused


def _master_keys() -> Mapping[str, bytes]:
    ring: Mapping[str, bytes] = settings.MASTER_KEYS
    return ring
