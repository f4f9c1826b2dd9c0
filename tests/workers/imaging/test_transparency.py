"""The one transparent grey or colour of a PNG (third edition, section 11.3.1.1), at every depth."""

import struct

import pytest

from tests.images import chunk, png_of, with_chunk
from workers.imaging import source_images
from workers.imaging.source_images import decode

WHITE = (255, 255, 255)


def grey_png(depth: int, *numbers: int) -> bytes:
    """Write 64 by 64 pixels, in each row the numbers in turn."""
    row = [numbers[i % len(numbers)] for i in range(64)]
    bits = "".join(f"{number:0{depth}b}" for number in row)
    data = int(bits, 2).to_bytes(64 * depth // 8, "big")
    return png_of(64, 64, depth=depth, colour=0, data=(b"\0" + data) * 64)


def rgb_png(depth: int, *colours: tuple[int, int, int]) -> bytes:
    form = ">3H" if depth == 16 else ">3B"
    row = b"".join(struct.pack(form, *colours[i % len(colours)]) for i in range(64))
    return png_of(64, 64, depth=depth, data=(b"\0" + row) * 64)


def transparent(content: bytes, *numbers: int) -> bytes:
    return with_chunk(content, b"tRNS", struct.pack(f">{len(numbers)}H", *numbers))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_is_white_and_all_others_stay(depth: int) -> None:
    most = (1 << depth) - 1
    dark, light = most // 3, most - most // 3
    content = grey_png(depth, dark, light)
    assert decode(content).getpixel((0, 9)) == (dark * 255 // most,) * 3
    result = decode(transparent(content, dark))
    assert result.getpixel((0, 9)) == WHITE
    assert result.getpixel((1, 9)) == (light * 255 // most,) * 3


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_grey_of_16_bits_is_transparent_by_its_lowest_bits(depth: int) -> None:
    assert decode(transparent(grey_png(depth, 0, 1), 0xFF00 | 1)).getpixel((1, 9)) == WHITE
    assert decode(transparent(grey_png(depth, 0, 1), 0xFF00 | 1)).getpixel((0, 9)) == (0, 0, 0)


def test_a_grey_of_16_bits_is_transparent_only_if_all_bits_are_the_same() -> None:
    result = decode(transparent(grey_png(16, 0x6464, 0x6465), 0x6464))
    assert (result.getpixel((0, 9)), result.getpixel((1, 9))) == (WHITE, (0x64,) * 3)


def test_a_colour_of_8_bits_is_transparent() -> None:
    result = decode(transparent(rgb_png(8, (1, 2, 3), (1, 2, 4)), 1, 2, 3))
    assert (result.getpixel((0, 9)), result.getpixel((1, 9))) == (WHITE, (1, 2, 4))


def test_a_colour_of_16_bits_is_transparent_only_if_all_bits_are_the_same() -> None:
    content = transparent(
        rgb_png(16, (0x1000, 0x2000, 0x3000), (0x1000, 0x2000, 0x3001)), 0x1000, 0x2000, 0x3000
    )
    result = decode(content)
    assert (result.getpixel((0, 9)), result.getpixel((1, 9))) == (WHITE, (0x10, 0x20, 0x30))


@pytest.mark.parametrize("depth", [2, 16])
def test_a_reduced_picture_keeps_its_transparent_grey(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 2_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 1_000)
    assert decode(transparent(grey_png(depth, 1), 1)).getcolors() == [(32 * 32, WHITE)]


def test_a_reduced_picture_keeps_its_transparent_colour_of_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 2_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 1_000)
    content = rgb_png(16, (1, 2, 3))
    assert decode(transparent(content, 1, 2, 3)).getcolors() == [(32 * 32, WHITE)]
    assert decode(transparent(content, 1, 2, 4)).getcolors() == [(32 * 32, (0, 0, 0))]


def test_levels_of_opacity_of_a_palette_count() -> None:
    palette = chunk(b"PLTE", bytes([0, 0, 0, 0, 0, 0, 200, 0, 0]))
    content = png_of(64, 64, depth=8, colour=3, data=(b"\0" + bytes([0, 1, 2, 2] * 16)) * 64)
    content = content[:33] + palette + chunk(b"tRNS", bytes([0, 128])) + content[33:]
    result = decode(content)
    assert result.getpixel((0, 9)) == WHITE
    assert result.getpixel((1, 9)) == (127, 127, 127)
    assert result.getpixel((2, 9)) == (200, 0, 0)
