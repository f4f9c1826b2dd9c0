"""The fitting of a source image into a picture of another shape: whole, centred and with its proportions.

It knows no model. The pixels at the source's edges are repeated outwards, because a model continues a plain edge and
keeps a bar of one colour in its picture.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def fit(source: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an RGB source in this size, width first. A source that has the size already is returned as it is.

    It is scaled as large as possible, and the rest is filled from its edges.
    """
    return _fit(source, size, Image.Resampling.LANCZOS)


def fit_mask(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a mask of one channel as `fit` brings its source to this size."""
    return _fit(mask, size, Image.Resampling.BILINEAR)


def extend(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture in a larger size, continued from its right and its lower edge."""
    if picture.size == size:
        return picture
    margins = [(0, size[1] - picture.height), (0, size[0] - picture.width)]
    return _pad(np.asarray(picture), margins)


def _fit(source: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    if source.size == size:
        return source
    width, height = size
    scale = min(width / source.width, height / source.height)
    # Of a very long source, one side may round to nothing.
    inner = tuple(max(1, round(side * scale)) for side in source.size)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    margins = [(top, height - inner[1] - top), (left, width - inner[0] - left)]
    pixels = np.asarray(source.resize((inner[0], inner[1]), resampling))
    return _pad(pixels, margins)


def _pad(pixels: NDArray[np.uint8], margins: list[tuple[int, int]]) -> Image.Image:
    return Image.fromarray(np.pad(pixels, [*margins, *([(0, 0)] * (pixels.ndim - 2))], mode="edge"))
