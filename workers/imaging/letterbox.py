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
    if source.size == size:
        return source
    inner, (left, top) = _place(source, size)
    pixels = np.asarray(source.resize(inner, Image.Resampling.LANCZOS))
    return _pad(pixels, [(top, size[1] - inner[1] - top), (left, size[0] - inner[0] - left)])


def fit_mask(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a mask of one channel as `fit` brings its source to this size. What the source does not fill is 0."""
    if mask.size == size:
        return mask
    inner, (left, top) = _place(mask, size)
    fitted = Image.new("L", size)
    fitted.paste(mask.resize(inner, Image.Resampling.BILINEAR), (left, top))
    return fitted


def extend(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture in a larger size, continued from its right and its lower edge."""
    if picture.size == size:
        return picture
    margins = [(0, size[1] - picture.height), (0, size[0] - picture.width)]
    return _pad(np.asarray(picture), margins)


def _place(source: Image.Image, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size to which the source is scaled, and its left and top in the middle of the picture."""
    width, height = size
    scale = min(width / source.width, height / source.height)
    # Of a very long source, one side may round to nothing.
    inner = (max(1, round(source.width * scale)), max(1, round(source.height * scale)))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    return inner, (left, top)


def _pad(pixels: NDArray[np.uint8], margins: list[tuple[int, int]]) -> Image.Image:
    return Image.fromarray(np.pad(pixels, [*margins, *([(0, 0)] * (pixels.ndim - 2))], mode="edge"))
