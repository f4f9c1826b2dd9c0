"""The orientation of a photo in its metadata (EXIF 2.32, section 4.6.2, or XMP), and the turn that undoes it.

Pillow reads every entry of the metadata, which may name the same megabytes tens of thousands of times. This module
reads one entry.
"""

import re
import struct
from typing import Final

from PIL import Image

UPRIGHT: Final = 1
_ORIENTATION: Final = 0x0112
# The formats of the entry's value by its type: BYTE, SHORT and LONG.
_FORMATS: Final = {1: "B", 3: "H", 4: "I"}
_ENTRY_BYTES: Final = 12
_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(image: Image.Image, *, exif: bytes, xmp: bytes) -> Image.Image:
    """Return the image as its metadata says that it must be looked at. Unreadable metadata turns nothing."""
    return turn(image, _of_exif(exif) or _of_xmp(xmp))


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned by the number of its orientation. An unknown number turns nothing."""
    wanted = _TURNS.get(orientation)
    return image if wanted is None else image.transpose(wanted)


def _of_exif(exif: bytes) -> int:
    """Return the value of the orientation's entry, or 0 without a readable one."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 0
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for start in range(offset + 2, offset + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, start)
            if tag == _ORIENTATION and kind in _FORMATS:
                return int(struct.unpack_from(order + _FORMATS[kind], tiff, start + 8)[0])
    except struct.error:
        pass
    return 0


def _of_xmp(xmp: bytes) -> int:
    found = _XMP.search(xmp)
    return int(found[1]) if found else UPRIGHT
