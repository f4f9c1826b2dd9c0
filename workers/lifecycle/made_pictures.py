"""The pictures that were made here: a keyed digest of the pixels of each, tied to no account, generation or time.

A digest is kept after its picture is gone. It tells nothing of the picture without the picture and a key.
"""

import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from django.conf import settings

from workers.imaging.png import Pixels
from workers.models import MadePicture

# Part of the statement that completes a generation, after `moved`. Equal pictures have one row.
REMEMBER: Final = """
remembered AS (
    INSERT INTO workers_madepicture (digest)
    SELECT %(pixel_digest)s::bytea FROM moved WHERE %(pixel_digest)s::bytea IS NOT NULL
    ON CONFLICT DO NOTHING
)"""


class Mark(NamedTuple):
    """The kind of the mark in a picture's file, and the digest of the pixels of that file."""

    provenance: str = ""
    pixel_digest: bytes | None = None


UNMARKED: Final = Mark()


def digest_of(pixels: Pixels) -> bytes | None:
    """Return the digest of (height, width, 3) bytes under the first key, or None without a key."""
    keys = _keys()
    return _digest(next(iter(keys.values())), pixels) if keys else None


def is_made_here(pixels: Pixels) -> bool | None:
    """Return whether a picture of exactly these pixels was made here, or None if no digests are kept."""
    keys = _keys()
    if not keys:
        return None
    digests = [_digest(key, pixels) for key in keys.values()]
    return MadePicture.objects.filter(pk__in=digests).exists()


def are_kept() -> bool:
    """Return whether digests are kept."""
    return bool(_keys())


def _digest(key: bytes, pixels: Pixels) -> bytes:
    height, width, _ = pixels.shape
    digest = hmac.new(key, struct.pack(">II", width, height), hashlib.sha256)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _keys() -> Mapping[str, bytes]:
    keys: Mapping[str, bytes] = settings.PROVENANCE_KEYS
    return keys
