"""The sizes of images: the published ones, free ones within bounds, and `auto`."""

import math
import re
from typing import Final, NamedTuple

# The published sizes, as (width, height) in pixels.
SIZES: Final = {
    "512x512": (512, 512),
    "1024x1024": (1024, 1024),
    "1024x768": (1024, 768),
    "768x1024": (768, 1024),
}
DEFAULT_SIZE: Final = "1024x1024"
AUTO: Final = "auto"
# The bounds of a free size. Models work on latents of 16 by 16 pixels.
STEP: Final = 16
MIN_SIDE: Final = 256
MAX_SIDE: Final = 2048
MAX_RATIO: Final = 3
MAX_PIXELS: Final = 1536 * 1536
# An edit of size `auto` has about as many pixels.
AUTO_PIXELS: Final = 1024 * 1024
RULES: Final = (
    f"WIDTHxHEIGHT, each from {MIN_SIDE} to {MAX_SIDE} and divisible by {STEP}, the longer one at most {MAX_RATIO} "
    f"times the shorter one, {MAX_PIXELS} pixels in all at most"
)
# It has the form of a size and its divisors. The ratio and the pixels are beyond a pattern.
_SIDE: Final = "|".join(str(side) for side in range(MIN_SIDE, MAX_SIDE + 1, STEP))
PATTERN: Final = f"^(?:{_SIDE})x(?:{_SIDE})$"
_FORM: Final = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


class Size(NamedTuple):
    """The width and the height of an image in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def is_allowed(self) -> bool:
        """Return whether an image may have this size."""
        return (
            all(MIN_SIDE <= side <= MAX_SIDE and side % STEP == 0 for side in self)
            and max(self) <= MAX_RATIO * min(self)
            and self.width * self.height <= MAX_PIXELS
        )


def parse(text: str) -> Size | None:
    """Return the size of a text such as `1024x768`, allowed or not, or None if it has another form."""
    matched = _FORM.fullmatch(text)
    return Size(int(matched[1]), int(matched[2])) if matched else None


def nearest(size: Size) -> Size:
    """Return an allowed size that is close to this one."""
    width, height = (min(max(side, MIN_SIDE), MAX_SIDE) for side in size)
    longest = MAX_RATIO * min(width, height)
    return _fit(min(width, longest), min(height, longest), most_pixels=MAX_PIXELS)


def shape_like(size: Size) -> Size:
    """Return the allowed size of about a megapixel whose shape is closest to this one."""
    ratio = min(max(size.width / size.height, 1 / MAX_RATIO), MAX_RATIO)
    width = math.sqrt(AUTO_PIXELS * ratio)
    return _fit(width, width / ratio, most_pixels=MAX_PIXELS)


def _fit(width: float, height: float, *, most_pixels: int) -> Size:
    """Return the allowed size closest to sides that keep the ratio, scaled down to this number of pixels."""
    scale = min(1.0, math.sqrt(most_pixels / (width * height)))
    sides = [max(MIN_SIDE, STEP * round(side * scale / STEP)) for side in (width, height)]
    # Rounding may pass a bound by one step of the longer side.
    longer = sides.index(max(sides))
    while not Size(*sides).is_allowed:
        sides[longer] -= STEP
    return Size(*sides)
