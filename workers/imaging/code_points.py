"""Colours by number (ITU-T H.273, tables 2 and 3), as PNG's cICP and HEIF's nclx name them."""

from typing import Final

from workers.imaging.icc_profile import Curve

_D65: Final = (0.3127, 0.3290)
# x and y of white, red, green and blue.
CHROMATICITIES: Final[dict[int, tuple[float, ...]]] = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# A number without meaning of its own, for which viewers take sRGB.
_UNSPECIFIED: Final = 2
CHROMATICITIES[_UNSPECIFIED] = CHROMATICITIES[1]
SRGB: Final = CHROMATICITIES[1]
# The light of white paper in pictures of high dynamic range (ITU-R BT.2408), in cd/m². Brighter light is cut off.
_WHITE: Final = 203
_NARROW_BLACK, _NARROW_WHITE = 16 / 255, 235 / 255


def srgb(value: float) -> float:
    """Return the light of a number (IEC 61966-2-1)."""
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)


def power(exponent: float) -> Curve:
    """Return the curve of a plain exponent."""
    return lambda value: float(max(value, 0.0) ** exponent)


def narrow(curve: Curve) -> Curve:
    """Return the curve for numbers between 16 and 235 of 255, as television has them."""
    return lambda value: curve(min(1.0, max(0.0, (value - _NARROW_BLACK) / (_NARROW_WHITE - _NARROW_BLACK))))


def _perceptual_quantizer(value: float) -> float:
    """Return the light of a number, where white is 1 (SMPTE ST 2084)."""
    root = value ** (32 / 2523)
    light = (max(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
    return float(light * 10_000 / _WHITE)


def _hybrid_log_gamma(value: float) -> float:
    """Return the light of a number on a screen of 1000 cd/m², where white is 1 (ITU-R BT.2100)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = value * value / 3 if value <= 0.5 else (2.718281828459045 ** ((value - c) / a) + b) / 12
    return float(scene**1.2 * 1000 / _WHITE)


# Viewers show the curves of cameras (1, 6, 11, 14, 15) as sRGB, since nearly all files with these numbers are sRGB.
CURVES: Final[dict[int, Curve]] = {
    **dict.fromkeys((1, _UNSPECIFIED, 6, 11, 13, 14, 15), srgb),
    4: power(2.2),
    5: power(2.8),
    8: power(1.0),
    16: _perceptual_quantizer,
    17: power(2.6),
    18: _hybrid_log_gamma,
}
