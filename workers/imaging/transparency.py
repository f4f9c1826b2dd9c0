"""The colours and the transparency of a decoded picture, apart from each other."""

from typing import Final

import numpy as np
from PIL import Image, ImageChops

from workers.imaging.file_structure import PictureFile

# The modes of colours, without transparency, by the modes of decoded pictures. Others become RGB.
_COLOUR_MODES: Final = {"1": "L", "L": "L", "LA": "L", "I;16": "I;16", "CMYK": "CMYK"}
LEVELS: Final = 255


def colour_mode(image: Image.Image, file: PictureFile) -> str:
    """Return the mode of the colours that `split` returns: L, I;16, RGB or CMYK."""
    return "I;16" if _is_deep_grey(image, file) else _COLOUR_MODES.get(image.mode, "RGB")


def split(image: Image.Image, file: PictureFile) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours, and the opacity from 0 to 255 or None for an opaque picture.

    The four bytes of RGBA are those of a grey and its opacity, of 16 bits each, if the file is grey.
    """
    mode = colour_mode(image, file)
    if _is_deep_grey(image, file):
        high, low = (np.asarray(image.getchannel(band)) for band in (0, 1))
        return Image.fromarray(high.astype(np.uint16) << 8 | low), image.getchannel(2)
    if image.mode in ("1", "L", "I;16"):
        grey = image if image.mode == mode else image.convert(mode)
        return grey, _opacity_of_grey(grey, file, image.info.get("transparency"))
    if image.mode == "RGB" and "transparency" in image.info:
        return image, _opacity_of(image, file.transparent)
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode), None
    layers = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    return layers.getchannel(0) if mode == "L" else layers.convert(mode), layers.getchannel("A")


def _is_deep_grey(image: Image.Image, file: PictureFile) -> bool:
    return image.mode == "RGBA" and file.is_grey


def opacity_of_deep_colours(high: Image.Image, low: Image.Image, file: PictureFile) -> Image.Image:
    """Return the opacity of RGB of 16 bits, given as the pictures of the high and of the low bytes."""
    of_high = _opacity_of(high, tuple(value >> 8 for value in file.transparent))
    return ImageChops.lighter(of_high, _opacity_of(low, file.transparent))


def _opacity_of(image: Image.Image, transparent: tuple[int, ...]) -> Image.Image:
    """Return the opacity of a picture of 8 bits, in which one colour is transparent."""
    opacity = Image.new("L", image.size, 0)
    for band, value in zip(image.split(), transparent, strict=True):
        differs = band.point([LEVELS * (level != value & LEVELS) for level in range(LEVELS + 1)])
        opacity = ImageChops.lighter(opacity, differs)
    return opacity


def _opacity_of_grey(grey: Image.Image, file: PictureFile, transparent: int | None) -> Image.Image | None:
    if transparent is None:
        return None
    if grey.mode == "I;16":
        return Image.fromarray((np.asarray(grey) != transparent).astype(np.uint8) * np.uint8(LEVELS))
    if file.transparent:
        # Pillow spreads the numbers of few bits over all levels, and leaves the transparent one as it is.
        most = (1 << file.depth) - 1
        transparent = (file.transparent[0] & most) * LEVELS // most
    return _opacity_of(grey, (transparent,))
