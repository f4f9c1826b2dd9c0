"""The parts of an image file that say which colours its numbers mean. The module interprets none of them."""

from typing import NamedTuple


class CodePoints(NamedTuple):
    """Numbers of ITU-T H.273 for primaries, transfer function and range of the numbers."""

    primaries: int
    transfer: int
    is_full_range: bool = True


class ColourTags(NamedTuple):
    """The colour information of a picture, as PNG (third edition, section 4.3) orders it.

    `chromaticities` are x and y of white, red, green and blue. `gamma` is the exponent with which light was encoded.
    """

    code_points: CodePoints | None = None
    icc_profile: bytes = b""
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
