"""The last steps of reading a picture: its pixels in sRGB, on white, and reduced in strips.

Strips keep a second picture of the full size out of memory.
"""

import math
from typing import Final

from PIL import Image, ImageChops

from workers.imaging import colour, transparency
from workers.imaging.colour_tags import ColourTags
from workers.imaging.file_structure import PictureFile

# These rows of the result are made at a time.
_ROWS_AT_ONCE: Final = 64
# Up to this size, colours of 16 bits are converted exactly, in 0.4 s a megapixel. Of a larger picture, which is scaled
# down afterwards, the high bytes are converted in a tenth of that.
MAX_DEEP_PIXELS: Final = 4_000_000
SAYS_NOTHING: Final = ColourTags()


def flatten(
    image: Image.Image, file: PictureFile, *, factor: int = 1, low: Image.Image | None = None
) -> Image.Image:
    """Return a loaded picture as sRGB without transparency, with its sides divided by the factor.

    `low` is the picture of the low bytes, for RGB of 16 bits.
    """
    # Pillow reads the profile of a WebP, and no profile of the others.
    tags = file.colours if file.colours != SAYS_NOTHING else ColourTags(icc_profile=_profile(image))
    conversion = colour.find(tags, transparency.colour_mode(image, file))
    frame = _opacity_of_frame(image, file)
    if factor == 1:
        is_exact = image.width * image.height <= MAX_DEEP_PIXELS
        return _flat(image, file, conversion, low, frame, is_exact=is_exact)
    size = math.ceil(image.width / factor), math.ceil(image.height / factor)
    picture, row_count = Image.new("RGB", size), _ROWS_AT_ONCE * factor
    for top in range(0, image.height, row_count):
        box = 0, top, image.width, min(top + row_count, image.height)
        strips = [None if layer is None else layer.crop(box) for layer in (low, frame)]
        strip = _flat(image.crop(box), file, conversion, *strips)
        picture.paste(strip.reduce(factor), (0, top // factor))
    return picture


def _flat(
    image: Image.Image,
    file: PictureFile,
    conversion: colour.Conversion | None,
    low: Image.Image | None,
    frame: Image.Image | None,
    *,
    is_exact: bool = False,
) -> Image.Image:
    colours: Image.Image = image
    opacity: Image.Image | None
    if low is not None and file.transparent:
        opacity = transparency.opacity_of_deep_colours(image, low, file)
    else:
        colours, opacity = transparency.split(image, file)
    if frame is not None:
        opacity = frame if opacity is None else ImageChops.darker(opacity, frame)
    picture = (
        colour.to_rgb(colours)
        if conversion is None
        else conversion.apply(colours, low=low if is_exact else None)
    )
    if opacity is None:
        return picture
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=opacity)
    return white


def _profile(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else b""


def _opacity_of_frame(image: Image.Image, file: PictureFile) -> Image.Image | None:
    """Return an opacity with nothing around the frame of a GIF, or None for a frame of the picture's size."""
    if file.frame is None or file.frame == (0, 0, *image.size):
        return None
    left, top, width, height = file.frame
    opacity = Image.new("L", image.size, 0)
    opacity.paste(transparency.LEVELS, (left, top, left + width, top + height))
    return opacity
