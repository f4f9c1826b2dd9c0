"""The reader of source images, from untrusted bytes to upright sRGB pixels. It knows no HTTP and no storage."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from workers.imaging import (
    containers,
    flatten,
    gif_blocks,
    jpeg_segments,
    orientation,
    png,
    png_chunks,
)
from workers.imaging.file_structure import BrokenPart, PictureFile, TooManyParts
from workers.imaging.memory_budget import MemoryBudget

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
FORMAT_NAMES: Final = "PNG, JPEG, WebP, HEIC, AVIF or GIF"
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
BYTES_PER_PIXEL_READ: Final = {"PNG": 4, "JPEG": 8, "WEBP": 16, "GIF": 4, "HEIC": 16}
# A PNG with colours of 16 bits may be read twice, for the high and for the low bytes.
BYTES_PER_PIXEL_READ_TWICE: Final = 8
# What a picture takes beside its pixels, such as the tables of its decoder.
BYTES_PER_DECODER: Final = 32 * 1024 * 1024
BYTES_PER_PIXEL: Final = 16
BYTES_AT_ONCE: Final = 1_250_000_000
TOO_LARGE: Final = f"The image has more than {MAX_PIXELS // 1_000_000} megapixels."
BROKEN: Final = "The image is truncated or broken."

# A WebP's canvas is reserved while its header is read. Before that, Pillow refuses images above twice this limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_budget = MemoryBudget(BYTES_AT_ONCE)


class InvalidImage(Exception):
    """The bytes are not a picture that can be a source. The message tells the client why."""


def decode(content: bytes) -> Image.Image:
    """Return the first frame of a picture, upright, in sRGB, with transparency on white.

    The format is recognised by content. The size is checked in the header, before any pixel is decoded. A picture of
    more than MAX_FULL_PIXELS is reduced. Raise InvalidImage and no other exception.
    """
    with _decode(content) as picture:
        return picture


def normalise(content: bytes) -> bytes:
    """Return the picture as a PNG without metadata, of at most KEPT_PIXELS pixels. Raise InvalidImage."""
    with _decode(content) as picture:
        return png.encode(_shrink(picture))


def size_of(normalised: bytes) -> tuple[int, int]:
    """Return width and height in pixels of a picture that `normalise` returned."""
    with Image.open(io.BytesIO(normalised), formats=["PNG"]) as picture:
        return picture.size


@contextmanager
def _decode(content: bytes) -> Iterator[Image.Image]:
    if containers.format_of(content):
        with _decode_container(content) as picture:
            yield picture
        return
    file = _read(content)
    image = _open(file, file.endings[0])
    _check_size(image.width, image.height)
    if file.scan_count > min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height)):
        raise InvalidImage("The image's file is made of too many parts.")
    with _budget.spend(_byte_count(image, file)):
        try:
            picture = _reduced_rgb(image, file, file.endings[0])
            others = [_reduced_rgb(_open(file, ending), file, ending) for ending in file.endings[1:]]
        except Exception as problem:
            # Pillow's decoders raise many kinds of exception for a broken file.
            raise InvalidImage(BROKEN) from problem
        if any(ImageChops.difference(picture, other).getbbox() for other in others):
            raise InvalidImage(BROKEN)
        exif, xmp = file.exif or image.info.get("exif", b""), file.xmp or image.info.get("xmp", b"")
        yield orientation.turn_upright(picture, exif=exif, xmp=xmp)


@contextmanager
def _decode_container(content: bytes) -> Iterator[Image.Image]:
    try:
        with containers.open_reader(content) as reader:
            width, height, turn, colours = reader.header
            _check_size(width, height)
            bytes_read = BYTES_PER_PIXEL_READ["HEIC"] * width * height
            with _budget.spend(bytes_read + _bytes_of_work(width * height)):
                image = reader.decode(
                    factor=_factor(width, height), byte_count=bytes_read + BYTES_PER_DECODER
                )
                picture = flatten.flatten(image, PictureFile(b"", colours=colours))
                yield orientation.turn(picture, turn)
    except containers.Unreadable:
        raise InvalidImage(BROKEN) from None


def _byte_count(image: Image.Image, file: PictureFile) -> int:
    """Return the bytes of memory that reading the image takes at most, and the work on pictures of its size."""
    pixels, picture_count = image.width * image.height, len(file.endings)
    of_reading = (
        BYTES_PER_PIXEL_READ_TWICE
        if _is_read_twice(image, file)
        else BYTES_PER_PIXEL_READ[image.format or ""]
    )
    return of_reading * pixels + picture_count * _bytes_of_work(pixels)


def _bytes_of_work(pixels: int) -> int:
    return BYTES_PER_PIXEL * (pixels if pixels <= MAX_FULL_PIXELS else pixels // 4)


def _is_read_twice(image: Image.Image, file: PictureFile) -> bool:
    """Return whether the low bytes of colours of 16 bits count: to convert them, or to know the transparent one."""
    is_converted = (
        file.colours != flatten.SAYS_NOTHING and image.width * image.height <= flatten.MAX_DEEP_PIXELS
    )
    return file.depth > 8 and not file.is_grey and (bool(file.transparent) or is_converted)


def _reduced_rgb(image: Image.Image, file: PictureFile, ending: bytes) -> Image.Image:
    factor = _factor(image.width, image.height)
    # A JPEG is decoded at a half, a quarter or an eighth of its size, which takes less memory. Others ignore this.
    image.draft(image.mode, (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    # Pillow keeps the high byte of a number of 16 bits, unless it is a grey without transparency.
    if file.depth > 8 and file.is_grey and image.mode == "RGBA":
        # Four numbers of 8 bits are as long as a grey and its opacity. `transparency.split` takes them apart.
        _read_as(image, "RGBA")
    image.load()
    low = None
    if _is_read_twice(image, file):
        low = _open(file, ending)
        # Read in the other order of bytes, the high one is the low one.
        _read_as(low, f"{low.mode};16L")
        low.load()
    return flatten.flatten(image, file, factor=_factor(image.width, image.height), low=low)


def _read_as(image: Image.Image, raw_mode: str) -> None:
    """Let a PNG that is not loaded yet be read as though its pixels had this form."""
    assert isinstance(image, ImageFile.ImageFile)
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]


def _factor(width: int, height: int) -> int:
    """Return the whole factor by which both sides are reduced; 1 for a picture that is read at its full size."""
    pixels = width * height
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


def read_structure(content: bytes) -> PictureFile:
    """Return the parts of a file of any format. Raise TooManyParts or BrokenPart."""
    if content.startswith(png_chunks.SIGNATURE):
        return png_chunks.read(content)
    if content.startswith(jpeg_segments.START_OF_IMAGE):
        return jpeg_segments.read(content)
    if content.startswith(gif_blocks.SIGNATURES):
        return gif_blocks.read(content)
    return PictureFile(content)


def _read(content: bytes) -> PictureFile:
    try:
        return read_structure(content)
    except TooManyParts:
        raise InvalidImage("The image's file is made of too many parts.") from None
    except BrokenPart:
        raise InvalidImage("The image's header is broken.") from None


def _open(file: PictureFile, ending: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file.content + ending), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidImage(TOO_LARGE) from None
    except UnidentifiedImageError:
        raise InvalidImage(f"The data is not a readable {FORMAT_NAMES} image.") from None
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
