"""The reader of source images, from untrusted bytes to upright RGB pixels. It knows no HTTP and no storage."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, ImageChops, UnidentifiedImageError

from workers.imaging import jpeg_segments, orientation, png, png_chunks
from workers.imaging.file_structure import BrokenPart, PictureFile, TooManyParts
from workers.imaging.memory_budget import MemoryBudget

FORMATS: Final = ("PNG", "JPEG", "WEBP")
# Phones write up to 50 megapixels.
MAX_PIXELS: Final = 60_000_000
MIN_SIDE_PIXELS: Final = 64
MAX_RATIO: Final = 8
# A larger picture is read reduced, by a whole factor that leaves more than KEPT_PIXELS.
MAX_FULL_PIXELS: Final = 16_000_000
# The stored size of a source. Models use at most a megapixel of it. Encoding 16 megapixels takes a second and 25 MB.
KEPT_PIXELS: Final = 4_000_000
# Progressive encoders write about ten scans. At 16 megapixels, a scan takes 10 ms.
MAX_SCANS: Final = 100
MAX_SCANNED_PIXELS: Final = MAX_SCANS * MAX_FULL_PIXELS
# The bytes of memory that a pixel takes while a picture is read, and while the picture that came of it is worked on.
# A JPEG of many scans is kept as coefficients, of two bytes for each of up to four colours.
BYTES_PER_PIXEL_READ: Final = {"PNG": 4, "JPEG": 8, "WEBP": 16}
BYTES_PER_PIXEL: Final = 16
BYTES_AT_ONCE: Final = 1_250_000_000
TOO_LARGE: Final = f"The image has more than {MAX_PIXELS // 1_000_000} megapixels."
BROKEN: Final = "The image is truncated or broken."
# These rows of the result are made at a time, so that no second picture of the full size is in memory.
_ROWS_AT_ONCE: Final = 64

# A WebP's canvas is reserved while its header is read. Before that, Pillow refuses images above twice this limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_budget = MemoryBudget(BYTES_AT_ONCE)


class InvalidImage(Exception):
    """The bytes are not a picture that can be a source. The message tells the client why."""


def decode(content: bytes) -> Image.Image:
    """Return the first frame of a PNG, JPEG or WebP, upright, in RGB, with transparency on white.

    The format is recognised by content. The size is checked in the header, before any pixel is decoded. A picture of
    more than MAX_FULL_PIXELS is reduced. Raise InvalidImage and no other exception.
    """
    with _decode(content) as picture:
        return picture


def normalise(content: bytes) -> bytes:
    """Return the picture as a PNG without metadata, of at most KEPT_PIXELS pixels. Raise InvalidImage."""
    with _decode(content) as picture:
        return png.encode(_shrink(picture))


@contextmanager
def _decode(content: bytes) -> Iterator[Image.Image]:
    file = _read(content)
    image = _open(file, file.endings[0])
    _check_size(image.width, image.height)
    if file.scan_count > min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height)):
        raise InvalidImage("The image's file is made of too many parts.")
    with _budget.spend(_byte_count(image, picture_count=len(file.endings))):
        try:
            picture = _reduced_rgb(image)
            others = [_reduced_rgb(_open(file, ending)) for ending in file.endings[1:]]
        except Exception as problem:
            # Pillow's decoders raise many kinds of exception for a broken file.
            raise InvalidImage(BROKEN) from problem
        if any(ImageChops.difference(picture, other).getbbox() for other in others):
            raise InvalidImage(BROKEN)
        exif, xmp = file.exif or image.info.get("exif", b""), file.xmp or image.info.get("xmp", b"")
        yield orientation.turn_upright(picture, exif=exif, xmp=xmp)


def _byte_count(image: Image.Image, *, picture_count: int) -> int:
    """Return the bytes of memory that reading the image takes at most, and the work on pictures of its size."""
    pixels = image.width * image.height
    worked_on = pixels if pixels <= MAX_FULL_PIXELS else pixels // 4
    return BYTES_PER_PIXEL_READ[image.format or ""] * pixels + BYTES_PER_PIXEL * worked_on * picture_count


def _reduced_rgb(image: Image.Image) -> Image.Image:
    factor = _factor(image)
    # A JPEG is decoded at a half, a quarter or an eighth of its size, which takes less memory. Others ignore this.
    image.draft(image.mode, (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    image.load()
    factor = _factor(image)
    if factor == 1:
        return _to_rgb(image)
    size = math.ceil(image.width / factor), math.ceil(image.height / factor)
    picture, row_count = Image.new("RGB", size), _ROWS_AT_ONCE * factor
    for top in range(0, image.height, row_count):
        strip = image.crop((0, top, image.width, min(top + row_count, image.height)))
        picture.paste(_to_rgb(strip).reduce(factor), (0, top // factor))
    return picture


def _factor(image: Image.Image) -> int:
    """Return the whole factor by which both sides are reduced; 1 for a picture that is read at its full size."""
    pixels = image.width * image.height
    return 1 if pixels <= MAX_FULL_PIXELS else math.isqrt(pixels // KEPT_PIXELS)


def _shrink(picture: Image.Image) -> Image.Image:
    """Return the picture, scaled down to at most KEPT_PIXELS if it is larger.

    The rounding never makes it longer in proportion, so it stays a valid source.
    """
    shrink = math.sqrt(KEPT_PIXELS / (picture.width * picture.height))
    if shrink >= 1:
        return picture
    width, height = picture.width * shrink, picture.height * shrink
    size = (int(width), math.ceil(height)) if width > height else (math.ceil(width), int(height))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _read(content: bytes) -> PictureFile:
    try:
        if content.startswith(png_chunks.SIGNATURE):
            return png_chunks.read(content)
        if content.startswith(jpeg_segments.START_OF_IMAGE):
            return jpeg_segments.read(content)
    except TooManyParts:
        raise InvalidImage("The image's file is made of too many parts.") from None
    except BrokenPart:
        raise InvalidImage("The image's header is broken.") from None
    return PictureFile(content)


def _open(file: PictureFile, ending: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file.content + ending), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidImage(TOO_LARGE) from None
    except UnidentifiedImageError:
        raise InvalidImage("The data is not a readable PNG, JPEG or WebP image.") from None
    except Exception as problem:
        # Pillow's header readers raise many kinds of exception, too.
        raise InvalidImage("The image's header is broken.") from problem


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidImage(TOO_LARGE)
    if min(width, height) < MIN_SIDE_PIXELS:
        raise InvalidImage(f"The image is under {MIN_SIDE_PIXELS} pixels on a side: {width}x{height}.")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidImage(f"The image is longer than {MAX_RATIO}:1: {width}x{height}.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # A plain conversion would cut 16 bits off at 255 and leave white.
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer)
    return white
