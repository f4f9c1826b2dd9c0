"""The conversion of decoded pixels to sRGB, by the colour information of their file.

Information that is broken, absurd or unknown counts as none. It costs the conversion, and never the picture.
"""

import io
import itertools
from collections.abc import Iterator
from functools import cache, partial
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageCms

from workers.imaging import code_points, deep_colours, icc_profile
from workers.imaging.colour_tags import CodePoints, ColourTags

# Numbers further from sRGB than this are converted. Most profiles of sRGB differ by 1 in rounding.
MAX_DIFFERENCE: Final = 2
# Encoders write this exponent for sRGB, whose curve is near it (PNG, third edition, section 11.3.2.2).
_SRGB_GAMMA: Final = (0.45, 0.46)
# Exponents outside are no light that anybody encoded.
_GAMMAS: Final = (0.1, 10.0)
_GREYS: Final = ("L", "I;16")
_INPUT_MODES: Final = {
    icc_profile.RGB: ("RGB",),
    icc_profile.GREY: _GREYS,
    icc_profile.CMYK: ("CMYK",),
}
_EXACT: Final = ImageCms.Flags.NOOPTIMIZE
_PROBED_LEVELS: Final = range(0, 256, 17)


class Conversion:
    """A conversion to sRGB from one profile and for pictures of one mode: L, I;16, RGB or CMYK."""

    def __init__(self, profile: bytes, mode: str) -> None:
        """Prepare the conversion. Raise ValueError if the profile cannot be used for the mode."""
        modes = _INPUT_MODES.get(icc_profile.colour_space(profile), ())
        # Programs write the profile of RGB into grey pictures, too.
        self._mode = mode if mode in modes or mode == "CMYK" else "RGB"
        if self._mode not in modes:
            raise ValueError("a profile for other pictures")
        # The library would shorten the curve of grey to a few points.
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | (_EXACT if self._mode in _GREYS else 0)
        try:
            self._transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                self._mode,
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags,
            )
        except (ImageCms.PyCMSError, OSError) as error:
            raise ValueError("an unreadable profile") from error
        sample = _sample(self._mode)
        self._levels = (
            np.asarray(self._converted(sample).getchannel("G")).ravel() if self._mode in _GREYS else None
        )

    def apply(self, image: Image.Image, *, low: Image.Image | None = None) -> Image.Image:
        """Return the picture in sRGB. `low` is the picture of the low bytes, for RGB of 16 bits."""
        image = image if image.mode == self._mode else to_rgb(image)
        if low is not None:
            return deep_colours.convert(image, to_rgb(low), self._converted)
        if self._levels is None:
            return self._converted(image)
        return Image.fromarray(self._levels[np.asarray(image)]).convert("RGB")

    def is_needed(self) -> bool:
        """Return whether any colour of a sample becomes visibly another."""
        if self._mode == "CMYK":
            return True
        sample = _sample(self._mode)
        differences = ImageChops.difference(self.apply(sample), to_rgb(sample)).getextrema()
        return any(isinstance(band, tuple) and band[1] > MAX_DIFFERENCE for band in differences)

    def _converted(self, image: Image.Image) -> Image.Image:
        converted = self._transform.apply(image)
        converted.info = {}
        return converted


def find(tags: ColourTags, mode: str) -> Conversion | None:
    """Return the conversion for pictures of the mode, or None if their numbers are sRGB already."""
    for profile in _profiles(tags, is_grey=mode in _GREYS):
        try:
            conversion = Conversion(profile, mode)
        except ValueError:
            # The next best information counts.
            continue
        return conversion if conversion.is_needed() else None
    return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as RGB, without a conversion of its colours."""
    if image.mode == "I;16":
        # A plain conversion would cut 16 bits off at 255 and leave white.
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")


def _profiles(tags: ColourTags, *, is_grey: bool) -> Iterator[bytes]:
    """Yield the profiles that the information stands for, the one that counts most first."""
    if tags.code_points is not None:
        yield from _of_code_points(tags.code_points, is_grey=is_grey)
    if tags.icc_profile:
        yield tags.icc_profile
    if tags.is_srgb or (tags.gamma is None and tags.chromaticities is None):
        return
    curve: icc_profile.Curve = code_points.srgb
    if tags.gamma is not None and _GAMMAS[0] <= tags.gamma <= _GAMMAS[1]:
        low, high = _SRGB_GAMMA
        curve = curve if low <= tags.gamma <= high else code_points.power(1 / tags.gamma)
    yield from _written(curve, tags.chromaticities or code_points.SRGB, is_grey=is_grey)


def _of_code_points(numbers: CodePoints, *, is_grey: bool) -> Iterator[bytes]:
    curve = code_points.CURVES.get(numbers.transfer)
    chromaticities = code_points.CHROMATICITIES.get(numbers.primaries)
    if curve is not None and chromaticities is not None:
        curve = curve if numbers.is_full_range else code_points.narrow(curve)
        yield from _written(curve, chromaticities, is_grey=is_grey)


def _written(
    curve: icc_profile.Curve, chromaticities: tuple[float, ...], *, is_grey: bool
) -> Iterator[bytes]:
    write = (
        icc_profile.write_grey if is_grey else partial(icc_profile.write_rgb, chromaticities=chromaticities)
    )
    try:
        yield write(curve)
    except ValueError:
        # Colours that cannot be mixed say nothing.
        return


@cache
def _sample(mode: str) -> Image.Image:
    """Return a row of colours of the whole cube, or of all greys."""
    if mode == "RGB":
        colours = bytes(itertools.chain.from_iterable(itertools.product(_PROBED_LEVELS, repeat=3)))
        return Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    return Image.fromarray(np.arange(65_536, dtype=np.uint16).reshape(256, 256))
