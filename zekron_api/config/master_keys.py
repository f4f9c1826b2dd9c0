"""The parser of MASTER_KEYS and PROVENANCE_KEYS. It knows nothing of what the keys are for."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from environs import ValidationError

KEY_BYTES: Final = 32
MAX_ID_CHARACTERS: Final = 16


def parse(text: str | None) -> Mapping[str, bytes]:
    """Return the keys by id, in the order of `id:base64,id:base64`. The first one seals.

    Raises ValidationError. Its message quotes an id, but only after the id was told from a key in the wrong place.
    """
    keys: dict[str, bytes] = {}
    if text is None:
        # environs also parses the default.
        return keys
    for item in text.split(","):
        key_id, _, encoded = item.strip().partition(":")
        if not (key_id.isascii() and key_id.isalnum() and len(key_id) <= MAX_ID_CHARACTERS):
            raise ValidationError(f"has a key whose id is not 1 to {MAX_ID_CHARACTERS} letters and digits")
        if key_id in keys:
            raise ValidationError(f"names the key {key_id!r} twice")
        keys[key_id] = _decode(key_id, encoded)
    return keys


def _decode(key_id: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValidationError(f"has a key {key_id!r} that is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValidationError(f"has a key {key_id!r} of {len(key)} bytes; it must have {KEY_BYTES}")
    return key
