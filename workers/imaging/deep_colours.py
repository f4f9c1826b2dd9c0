"""The conversion of RGB of 16 bits by a function that converts 8 bits.

A colour lies between those of 8 bits. They are the corners of a cube, of which each of six tetrahedra has four. The
result is interpolated between these four (Sakamoto and Itooka, US patent 4275413, 1981).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image

# The steps of 16 bits between two levels of 8 bits.
STEPS: Final = 257
_MAX_LEVEL: Final = 255
# The numbers of these rows are in memory at a time.
_ROWS_AT_ONCE: Final = 64


def convert(
    high: Image.Image, low: Image.Image, convert_bytes: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Return the converted RGB of a picture that is given as its high and its low bytes."""
    result = Image.new("RGB", high.size)
    for top in range(0, high.height, _ROWS_AT_ONCE):
        box = 0, top, high.width, min(top + _ROWS_AT_ONCE, high.height)
        result.paste(_convert_rows(high.crop(box), low.crop(box), convert_bytes), box)
    return result


def _convert_rows(
    high: Image.Image, low: Image.Image, convert_bytes: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    numbers = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    levels = numbers // STEPS
    rests = (numbers - levels * STEPS).astype(np.int16)
    red, green, blue = np.moveaxis(rests, 2, 0)
    # From the lowest corner to the highest, the channel with the greatest rest goes up first.
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    bounds = [np.int16(STEPS), most, red + green + blue - most - least, least, np.int16(0)]
    turns = np.stack(
        [
            (green > red).view(np.uint8) + (blue > red),
            (red >= green).view(np.uint8) + (blue > green),
            (red >= blue).view(np.uint8) + (green >= blue),
        ],
        axis=2,
    )
    total = np.full(numbers.shape, STEPS / 2, np.float32)
    for count, (upper, lower) in enumerate(pairwise(bounds)):
        corner = np.minimum(levels + (turns < count), _MAX_LEVEL).astype(np.uint8)
        weight = (upper - lower).astype(np.float32)
        total += weight[..., None] * np.asarray(convert_bytes(Image.fromarray(corner)))
    return Image.fromarray((total * np.float32(1 / STEPS)).astype(np.uint8))
