"""The reader of pictures that are to be verified: their pixels as they are, and what they say of themselves."""

import io
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from workers.imaging import source_images, xmp
from workers.imaging.file_structure import BrokenPart, PictureFile, TooManyParts
from workers.imaging.png import Pixels
from workers.imaging.source_images import InvalidImage

FORMATS: Final = ("PNG", "JPEG", "WEBP")
# No picture that is made here has more, so the pixels of a larger one are not read.
MAX_READ_PIXELS: Final = 2048 * 2048
_NOT_READABLE: Final = "The data is not a readable PNG, JPEG or WebP image."
_COLOUR_MODES: Final = frozenset({"RGB", "RGBA", "P", "L", "LA"})


class Inspection(NamedTuple):
    """The pixels of an opaque picture of eight bits a channel, if it is not too large, and its digital source type."""

    pixels: Pixels | None
    source_type: str | None


def inspect(content: bytes) -> Inspection:
    """Read a PNG, JPEG or WebP, not turned and not converted. Raise InvalidImage and no other exception."""
    file = _read(content)
    try:
        with Image.open(io.BytesIO(file.content + file.endings[0]), formats=FORMATS) as image:
            if image.width * image.height > source_images.MAX_PIXELS:
                raise InvalidImage(source_images.TOO_LARGE)
            pixels = _pixels(image) if image.width * image.height <= MAX_READ_PIXELS else None
            packet = file.xmp or image.info.get("xmp", b"")
    except InvalidImage:
        raise
    except Exception as problem:
        # Pillow's readers raise many kinds of exception for a broken file.
        raise InvalidImage(_NOT_READABLE) from problem
    return Inspection(pixels, xmp.read_source_type(packet))


def _read(content: bytes) -> PictureFile:
    try:
        file = source_images.read_structure(content)
    except (TooManyParts, BrokenPart):
        raise InvalidImage(_NOT_READABLE) from None
    if file.scan_count > source_images.MAX_SCANS:
        raise InvalidImage(_NOT_READABLE)
    return file


def _pixels(image: Image.Image) -> Pixels | None:
    """Return the pixels, or None for a picture that is no plain picture of opaque colours."""
    if image.mode not in _COLOUR_MODES:
        return None
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    layer = image.convert("RGBA")
    alpha = layer.getchannel("A").getextrema()
    return np.asarray(layer.convert("RGB")) if alpha == (255, 255) else None
