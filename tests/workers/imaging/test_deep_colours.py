"""Colours of 16 bits, which keep more than the high byte of a number until they are sRGB."""

import struct

import pytest

from tests.images import near, png_of, with_chunk
from tests.workers.imaging.profiles import srgb_number
from workers.imaging import flatten
from workers.imaging.source_images import decode


def linear(png: bytes) -> bytes:
    """Say that the numbers of a PNG are light, of which the dark levels are the narrowest."""
    return with_chunk(png, b"gAMA", struct.pack(">I", 100_000))


def pixel(content: bytes) -> tuple[int, ...]:
    value = decode(content).getpixel((9, 9))
    assert isinstance(value, tuple)
    return value


@pytest.mark.parametrize("number", [3, 300, 655, 5_000])
def test_sixteen_bits_of_grey_with_transparency_keep_their_dark_levels(number: int) -> None:
    content = png_of(64, 64, depth=16, colour=4, data=(b"\0" + struct.pack(">2H", number, 65_535) * 64) * 64)
    assert near(pixel(linear(content)), (srgb_number(number / 65_535),) * 3, 1)


# The colour type 6 has an opacity behind each colour.
@pytest.mark.parametrize("colour", [2, 6])
@pytest.mark.parametrize(
    "numbers", [(300, 655, 90), (5_000, 40, 65_535), (65_535, 65_535, 65_535), (0, 1, 256)]
)
def test_sixteen_bits_of_colours_keep_their_dark_levels(numbers: tuple[int, ...], colour: int) -> None:
    each = struct.pack(">4H", *numbers, 65_535)[: 2 * (3 if colour == 2 else 4)]
    content = png_of(64, 64, depth=16, colour=colour, data=(b"\0" + each * 64) * 64)
    wanted = tuple(srgb_number(number / 65_535) for number in numbers)
    assert near(pixel(linear(content)), wanted, 1)


@pytest.mark.parametrize("has_transparency", [False, True])
def test_of_a_large_picture_of_sixteen_bits_the_high_bytes_are_converted(
    monkeypatch: pytest.MonkeyPatch, *, has_transparency: bool
) -> None:
    row = b"\0" + struct.pack(">3H", 40_000, 20_000, 511) * 64
    content = linear(png_of(64, 64, depth=16, data=row * 64))
    if has_transparency:
        content = with_chunk(content, b"tRNS", bytes(6))
    assert near(pixel(content)[2:], (srgb_number(511 / 65_535),), 1)
    monkeypatch.setattr(flatten, "MAX_DEEP_PIXELS", 64 * 63)
    assert near(pixel(content)[2:], (srgb_number(1 / 255),), 1)
