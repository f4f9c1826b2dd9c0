"""The reader of source images, from untrusted bytes to upright RGB pixels. It knows no HTTP and no storage."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageOps, UnidentifiedImageError

from workers.imaging import file_structure, png
from workers.imaging.pixel_budget import PixelBudget

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 16_000_000
MIN_SIDE_PIXELS = 64
MAX_RATIO = 8
# The stored size of a source. Models use at most a megapixel of it. Encoding 16 megapixels takes a second and 25 MB.
KEPT_PIXELS = 4_000_000
# A pixel in work takes up to 16 bytes, so all pixels that are decoded at once take half a gigabyte.
PIXELS_AT_ONCE = 2 * MAX_PIXELS
TOO_LARGE = f"The image has more than {MAX_PIXELS // 1_000_000} megapixels."

# A WebP's canvas is allocated while its header is read. Before that, Pillow refuses images above twice this limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
_budget = PixelBudget(PIXELS_AT_ONCE)


class InvalidImage(Exception):
    """The bytes are not a picture that can be a source. The message tells the client why."""


def decode(content: bytes) -> Image.Image:
    """Return the first frame of a PNG, JPEG or WebP, upright, in RGB, with transparency on white.

    The format is recognised by content. The size is checked in the header, before any pixel is decoded. Raise
    InvalidImage and no other exception.
    """
    with _decode(content) as picture:
        return picture


def normalise(content: bytes) -> bytes:
    """Return the picture as a PNG without metadata, of at most KEPT_PIXELS pixels. Raise InvalidImage."""
    with _decode(content) as picture:
        return png.encode(_shrink(picture))


@contextmanager
def _decode(content: bytes) -> Iterator[Image.Image]:
    image = _open(content)
    _check_size(image.width, image.height)
    with _budget.spend(image.width * image.height):
        try:
            image.load()
            picture = _to_rgb(_rotate_upright(image))
        except Exception as problem:
            # Pillow's decoders raise many kinds of exception for a broken file.
            raise InvalidImage("The image is truncated or broken.") from problem
        yield picture


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


def _open(content: bytes) -> Image.Image:
    if file_structure.has_too_many_parts(content):
        raise InvalidImage("The image's file is made of too many parts.")
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
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


def _rotate_upright(image: Image.Image) -> Image.Image:
    try:
        # The metadata is read and then removed, because Pillow would rewrite it and fail at a value of an odd type.
        image.getexif()
        image.info.pop("exif", None)
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - unreadable metadata has no orientation to apply, and the pixels are fine
        return image


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
