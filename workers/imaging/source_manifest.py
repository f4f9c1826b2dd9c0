"""The C2PA manifests of source images, which an edit carries over.

Each is in a private chunk of the PNG to which its source was normalised, so it is sealed, kept and deleted with the
picture. Nothing of a client's file gets into that chunk but by `carry_over`.
"""

import struct
from typing import Final

from workers.imaging import c2pa_reading, png
from workers.imaging.c2pa_signing import Ingredient

# A private ancillary chunk, which copies with other pixels must not keep (PNG specification §5.4).
_KIND: Final = b"zkCR"
# It comes after the signature and the header, which has 25 bytes.
_START: Final = len(png.SIGNATURE) + 25
_HEADER: Final = struct.Struct(">I4s")
# An edit is its first source, changed, and the model had the others as input (C2PA specification §10.3.2).
_RELATIONSHIPS: Final = ("parentOf", "inputTo")


def ingredient(position: int, *, archive: bytes = b"") -> Ingredient:
    """Return the source image at this position, from 0, as an ingredient of its edit."""
    return Ingredient(f"source{position}", _RELATIONSHIPS[min(position, 1)], archive)


def carry_over(normalised: bytes, *, original: bytes, position: int) -> bytes:
    """Return the normalised PNG of a source image, with the manifest of its original file if that has one."""
    label, relationship, _ = ingredient(position)
    archive = c2pa_reading.pack(original, relationship=relationship, label=label)
    return attach(normalised, archive) if archive else normalised


def attach(content: bytes, archive: bytes) -> bytes:
    """Return a PNG of this service with the archive of its source's manifest."""
    return content[:_START] + png.chunk(_KIND, archive) + content[_START:]


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return a PNG of this service as it was without the archive, and the archive, which may be empty."""
    start = _START + _HEADER.size
    if content[start - len(_KIND) : start] != _KIND:
        return content, b""
    byte_count, _ = _HEADER.unpack_from(content, _START)
    end = start + byte_count
    return content[:_START] + content[end + 4 :], content[start:end]
