"""Masks of edits: read from untrusted PNGs, kept as one channel of 8 bits, and applied to finished pictures.

255 keeps a pixel of the source, 0 paints it anew, and values between mix both.
"""

import io
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.imaging import png_chunks
from workers.imaging.file_structure import BrokenPart, TooManyParts
from workers.imaging.memory_budget import MemoryBudget
from workers.imaging.source_images import KEPT_PIXELS, MAX_PIXELS

# The parameter of a generation whose last source is its mask.
PARAMETER: Final = "masked"
KEPT: Final = 255
# The bytes of memory for each pixel of a mask while it is read.
BYTES_PER_PIXEL: Final = 10
_budget = MemoryBudget(BYTES_PER_PIXEL * MAX_PIXELS)
_WHAT: Final = "It must be a PNG with transparency, and transparent where to paint."


class InvalidMask(Exception):
    """The bytes are no mask for the image. The message tells the client why."""


def normalise(content: bytes, *, size: tuple[int, int]) -> bytes:
    """Return the mask as a PNG of one channel in this size, that of the first source as it is stored.

    The client's mask has the size of the client's image, of which a large one is stored smaller. Raise InvalidMask.
    """
    image = _open(content)
    _check_size(image.size, size)
    with _budget.spend(BYTES_PER_PIXEL * image.width * image.height):
        try:
            mask = image.convert("RGBA").getchannel("A")
        except Exception as problem:
            # Pillow's decoders raise many kinds of exception for a broken file.
            raise InvalidMask("The mask is truncated or broken.") from problem
        if mask.getextrema()[0] == KEPT:
            raise InvalidMask(f"The mask has no transparent pixel. {_WHAT}")
        # The mean of pixels keeps what is wholly kept or painted as it is.
        return _write(mask if mask.size == size else mask.resize(size, Image.Resampling.BOX))


def decode(content: bytes) -> Image.Image:
    """Return a mask that `normalise` has written."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as mask:
        mask.load()
        return mask


def paste(picture: NDArray[np.uint8], *, source: Image.Image, mask: Image.Image) -> NDArray[np.uint8]:
    """Return the picture with the source's pixels where the mask keeps them, bit for bit. All have one size."""
    kept_HW1 = np.asarray(mask, dtype=np.uint16)[..., None]
    mixed = np.asarray(source) * kept_HW1 + picture * (KEPT - kept_HW1)
    return ((mixed + KEPT // 2) // KEPT).astype(np.uint8)


def _open(content: bytes) -> Image.Image:
    if not content.startswith(png_chunks.SIGNATURE):
        raise InvalidMask(f"The mask is not a PNG. {_WHAT}")
    try:
        file = png_chunks.read(content)
        image = Image.open(io.BytesIO(file.content + file.endings[0]), formats=["PNG"])
    except TooManyParts:
        raise InvalidMask("The mask's file is made of too many parts.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidMask(f"The mask has more than {MAX_PIXELS // 1_000_000} megapixels.") from None
    except (BrokenPart, Exception) as problem:
        # Pillow's header readers raise many kinds of exception.
        raise InvalidMask("The mask's header is broken.") from problem
    if image.width * image.height > MAX_PIXELS:
        raise InvalidMask(f"The mask has more than {MAX_PIXELS // 1_000_000} megapixels.")
    if not image.has_transparency_data:
        raise InvalidMask(f"The mask has no transparency. {_WHAT}")
    return image


def _check_size(of_mask: tuple[int, int], of_source: tuple[int, int]) -> None:
    """Raise InvalidMask for another size than that of the image, which may be stored smaller with its proportions."""
    (width, height), (stored_width, stored_height) = of_mask, of_source
    scale = math.sqrt(width * height / (stored_width * stored_height))
    is_stored_smaller = scale > 1 and stored_width * stored_height > 0.9 * KEPT_PIXELS
    expected = (stored_width * scale, stored_height * scale)
    if of_mask != of_source and not (
        is_stored_smaller and all(abs(a - b) <= scale for a, b in zip(of_mask, expected, strict=True))
    ):
        raise InvalidMask(
            f"The mask is {width}x{height}, and images[0] is {stored_width}x{stored_height} when it is upright."
            " Both must have the same size."
        )


def _write(mask: Image.Image) -> bytes:
    file = io.BytesIO()
    mask.save(file, "PNG", compress_level=1)
    return file.getvalue()
