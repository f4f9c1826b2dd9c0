"""Content keys wrapped by master keys (AES-KW, RFC 3394). Knows settings.MASTER_KEYS, no image and no row.

The first master key wraps, every one of them unwraps: a new key is put first, and the old one stays until
nothing is wrapped by it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from django.conf import settings


class KeyRefused(Exception):
    """The wrapped key does not open under the master key that is named."""


class WrappedKey(NamedTuple):
    """A content key as the row keeps it, with the id of the master key that opens it."""

    master_key_id: str
    wrapped_key: bytes


def wrap(*, content_key: bytes) -> WrappedKey:
    """`content_key` wrapped by the first master key; 8 bytes longer than it was."""
    master_key_id, master_key = next(iter(_master_keys().items()))
    return WrappedKey(master_key_id, aes_key_wrap(master_key, content_key))


def unwrap(*, master_key_id: str, wrapped_key: bytes) -> bytes:
    """The content key; KeyRefused when the master key is not on the ring or is not the one that wrapped."""
    master_key = _master_keys().get(master_key_id)
    if master_key is None:
        raise KeyRefused
    try:
        return aes_key_unwrap(master_key, wrapped_key)
    except InvalidUnwrap:
        raise KeyRefused from None


def unwrap_by_any(*, master_key_id: str, wrapped_key: bytes) -> tuple[str, bytes]:
    """The content key, and before it the id of the master key that opened it: the named one, or else any other.

    Raises KeyRefused when none on the ring does.
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
