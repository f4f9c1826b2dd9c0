"""Colours of pictures that are not sRGB, against colours computed from the matrices and curves of their spaces."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images import chunk, near, png_of, saved, with_chunk
from tests.workers.imaging import profiles
from tests.workers.imaging.profiles import ADOBE_GAMMA, ADOBE_RGB, DISPLAY_P3, SRGB, in_srgb
from workers.imaging import colour, icc_profile, source_images
from workers.imaging.colour_tags import ColourTags
from workers.imaging.source_images import decode

BROWN, TEAL = (200, 100, 50), (60, 130, 140)
P3 = profiles.rgb_profile(DISPLAY_P3)
ADOBE = profiles.rgb_profile(ADOBE_RGB, ADOBE_GAMMA)
LINEAR = chunk(b"gAMA", struct.pack(">I", 100_000))
WIDE = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
WIDE_CHROMATICITIES = struct.pack(">8I", *(round(value * 100_000) for value in WIDE))


def plain(colour: Any, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (64, 64), colour)


def pixel(content: bytes) -> Any:
    return decode(content).getpixel((30, 30))


def linear_grey(value: float) -> tuple[int, int, int]:
    number = profiles.srgb_number(value)
    return number, number, number


def icc(data: bytes) -> bytes:
    return b"profile\0\0" + zlib.compress(data)


@pytest.mark.parametrize("number", [BROWN, TEAL, (255, 255, 255), (255, 0, 0)])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("JPEG", {"quality": 100, "subsampling": 0}), ("WEBP", {"lossless": True})],
)
def test_display_p3_and_adobe_rgb_become_srgb(
    file_format: str, options: dict[str, Any], number: tuple[int, int, int]
) -> None:
    p3 = saved(plain(number), file_format, icc_profile=P3, **options)
    assert near(pixel(p3), in_srgb(number, DISPLAY_P3), 2)
    adobe = saved(plain(number), file_format, icc_profile=ADOBE, **options)
    assert near(pixel(adobe), in_srgb(number, ADOBE_RGB, ADOBE_GAMMA), 2)


def test_the_published_numbers_of_a_colour_in_both_spaces() -> None:
    """CSS Color 4 converts color(display-p3 0.784 0.392 0.196) to these numbers."""
    assert near(in_srgb(BROWN, DISPLAY_P3), (215, 93, 31), 1)
    assert near(pixel(saved(plain(BROWN), icc_profile=P3)), (215, 93, 31), 2)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_a_grey_profile_counts_for_greys(mode: str) -> None:
    image = plain(255 if mode == "1" else 100, "L").convert(mode)
    wanted = linear_grey(1.0 if mode == "1" else 100 / 255)
    assert near(pixel(saved(image, icc_profile=profiles.grey_profile(1.0))), wanted, 1)


def test_a_grey_jpeg_has_its_profile_and_a_grey_picture_may_have_one_of_rgb() -> None:
    grey = saved(plain(100, "L"), "JPEG", quality=100, icc_profile=profiles.grey_profile(1.0))
    assert near(pixel(grey), linear_grey(100 / 255), 1)
    of_rgb = profiles.rgb_profile(SRGB, 1.0)
    assert near(pixel(saved(plain(100, "L"), icc_profile=of_rgb)), linear_grey(100 / 255), 2)


@pytest.mark.parametrize("number", [300, 655, 5_000, 40_000, 65_535])
def test_sixteen_bits_of_grey_keep_their_dark_levels(number: int) -> None:
    content = saved(Image.fromarray(np.full((64, 64), number, np.uint16)))
    wanted = linear_grey(number / 65_535)
    assert near(pixel(with_chunk(content, b"gAMA", LINEAR[8:12])), wanted, 1)
    assert near(pixel(with_chunk(content, b"iCCP", icc(profiles.grey_profile(1.0)))), wanted, 1)


def test_sixteen_bits_of_grey_with_transparency_have_their_profile() -> None:
    row = b"\0" + struct.pack(">2H", 100 * 257, 65_535) * 64
    content = png_of(64, 64, depth=16, colour=4, data=row * 64)
    assert near(
        pixel(with_chunk(content, b"iCCP", icc(profiles.grey_profile(1.0)))), linear_grey(100 / 255), 2
    )


def test_inks_have_the_colours_of_their_profile() -> None:
    grey, paper = (50, 0, 0), (100, 0, 0)
    inks = profiles.cmyk_profile({(0, 0, 0, 0): paper, (1, 0, 0, 0): grey})
    cyan = plain((255, 0, 0, 0), "CMYK")
    assert near(pixel(saved(cyan, "JPEG", quality=100)), (0, 255, 255), 3)
    assert near(pixel(saved(cyan, "JPEG", quality=100, icc_profile=inks)), (119, 119, 119), 3)
    white = saved(plain((0, 0, 0, 0), "CMYK"), "JPEG", quality=100, icc_profile=inks)
    assert near(pixel(white), (255, 255, 255), 2)


def test_inks_that_adobe_stored_as_lightness_and_colour_are_read() -> None:
    """A byte of Adobe's segment says so. The numbers stand for a luma of 90 without colour, and for half of black."""
    content = saved(plain((255 - 90, 127, 127, 128), "CMYK"), "JPEG", quality=100, subsampling=0)
    start = content.index(b"Adobe")
    content = content[: start + 11] + b"\2" + content[start + 12 :]
    ink, black = 90, 128
    light = round((255 - ink) * (255 - black) / 255)
    assert near(pixel(content), (light, light, light), 4)


def test_the_chunks_of_a_png_count_in_the_order_of_its_specification() -> None:
    content = saved(plain(BROWN))
    gamma = with_chunk(content, b"gAMA", LINEAR[8:12])
    of_gamma = in_srgb(BROWN, SRGB, 1.0)
    assert near(pixel(gamma), of_gamma, 2)
    assert pixel(with_chunk(gamma, b"sRGB", b"\0")) == BROWN
    profile = with_chunk(with_chunk(gamma, b"sRGB", b"\0"), b"iCCP", icc(ADOBE))
    of_profile = in_srgb(BROWN, ADOBE_RGB, ADOBE_GAMMA)
    assert near(pixel(profile), of_profile, 2)
    of_code_points = in_srgb(BROWN, DISPLAY_P3)
    assert near(pixel(with_chunk(profile, b"cICP", bytes([12, 13, 0, 1]))), of_code_points, 2)
    assert len({BROWN, of_gamma, of_profile, of_code_points}) == 4


def test_the_first_of_two_chunks_counts() -> None:
    """Otherwise each of thousands would be inflated."""
    # A chunk is put before those that are there.
    content = with_chunk(with_chunk(saved(plain(BROWN)), b"iCCP", icc(ADOBE)), b"iCCP", icc(P3))
    assert near(pixel(content), in_srgb(BROWN, DISPLAY_P3), 2)


def test_chromaticities_alone_have_the_curve_of_srgb() -> None:
    content = with_chunk(saved(plain(BROWN)), b"cHRM", WIDE_CHROMATICITIES)
    assert near(pixel(content), in_srgb(BROWN, DISPLAY_P3), 2)
    both = with_chunk(content, b"gAMA", LINEAR[8:12])
    assert near(pixel(both), in_srgb(BROWN, DISPLAY_P3, 1.0), 2)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"gAMA", struct.pack(">I", 45_455)),
        (b"gAMA", struct.pack(">I", 0)),
        (b"gAMA", b"\xff" * 4),
        (b"gAMA", b"\0"),
        (b"cHRM", bytes(32)),
        (b"cHRM", b"\xff" * 32),
        (b"cHRM", struct.pack(">8I", *(30_000, 30_000) * 4)),
        (b"cICP", bytes([1, 13, 0, 1])),
        (b"cICP", bytes([2, 2, 0, 1])),
        (b"cICP", bytes([99, 99, 0, 1])),
        (b"cICP", bytes([12, 13, 1, 1])),
        (b"cICP", bytes([12, 13])),
    ],
)
def test_chunks_that_say_srgb_or_nonsense_change_nothing(kind: bytes, data: bytes) -> None:
    content = saved(plain(BROWN))
    assert pixel(with_chunk(content, kind, data)) == BROWN
    assert pixel(with_chunk(content, kind, data, is_intact=False)) == BROWN


def test_numbers_of_television_and_of_high_dynamic_range_are_brought_to_srgb() -> None:
    content = saved(plain((126, 126, 126)))
    narrow = round(255 * (126 - 16) / 219)
    assert near(pixel(with_chunk(content, b"cICP", bytes([1, 13, 0, 0]))), (narrow,) * 3, 2)
    # BT.2408: a number of 0.58 in PQ and of 0.75 in HLG is white paper.
    for transfer, white in ((16, 0.5807), (18, 0.7500)):
        bright = saved(plain((round(255 * white),) * 3))
        assert near(pixel(with_chunk(bright, b"cICP", bytes([9, transfer, 0, 1]))), (255, 255, 255), 5)
        darker = saved(plain((round(255 * white * 0.75),) * 3))
        assert max(pixel(with_chunk(darker, b"cICP", bytes([9, transfer, 0, 1])))) < 190


def absurd_table(kind: bytes) -> bytes:
    head = struct.pack(">4s4x4B", kind, 3, 3, 255, 0)
    if kind == b"mAB ":
        head = struct.pack(">4s4x2B2x5I", kind, 3, 3, 0, 0, 0, 32, 0) + b"\xff" * 16 + b"\2"
    return profiles.profile(b"RGB ", {b"A2B0": head + bytes(400)}, pcs=b"Lab ")


UNREADABLE = {
    "junk": b"junk" * 50,
    "a truncated profile": P3[:400],
    "tags far away": P3[:136] + b"\x7f" * 12 + P3[148:],
    "very many tags": P3[:128] + b"\xff" * 4 + P3[132:],
    "a profile of inks": profiles.cmyk_profile({}),
    "a profile of grey": profiles.grey_profile(1.0),
    "a link between devices": P3[:12] + b"link" + P3[16:],
    "an absurd table": absurd_table(b"mft2"),
    "an absurd newer table": absurd_table(b"mAB "),
    "programs of tables": profiles.profile(b"RGB ", {b"D2B0": b"mpet" + bytes(100)}),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_profile_costs_only_the_conversion(name: str) -> None:
    profile = UNREADABLE[name]
    with pytest.raises(ValueError, match="profile"):
        colour.Conversion(profile, "RGB")
    image = plain(BROWN)
    assert pixel(with_chunk(saved(image), b"iCCP", icc(profile))) == BROWN
    assert near(pixel(saved(image, "JPEG", quality=100, icc_profile=profile)), BROWN, 2)
    assert near(pixel(saved(image, "WEBP", lossless=True, icc_profile=profile)), BROWN, 1)
    assert near(pixel(with_chunk(saved(image), b"gAMA", LINEAR[8:12])), in_srgb(BROWN, SRGB, 1.0), 2)


@pytest.mark.parametrize("kind", [b"mft2", b"mAB "])
def test_a_table_without_its_bytes_is_never_given_to_the_library(kind: bytes) -> None:
    assert icc_profile.colour_space(P3) == b"RGB "
    assert icc_profile.colour_space(profiles.cmyk_profile({})) == b"CMYK"
    assert icc_profile.colour_space(absurd_table(kind)) == b""
    assert icc_profile.colour_space(P3 + bytes(icc_profile.MAX_PROFILE_BYTES)) == b""


def test_the_next_best_information_counts_where_a_profile_is_unreadable() -> None:
    content = with_chunk(with_chunk(saved(plain(BROWN)), b"gAMA", LINEAR[8:12]), b"iCCP", icc(b"junk" * 50))
    assert near(pixel(content), in_srgb(BROWN, SRGB, 1.0), 2)


def test_a_profile_that_inflates_without_end_is_cut_off() -> None:
    bomb = with_chunk(saved(plain(BROWN)), b"iCCP", icc(bytes(30_000_000)))
    assert pixel(bomb) == BROWN


def test_a_profile_in_several_segments_of_a_jpeg_is_put_together_in_their_order() -> None:
    profile = P3.ljust(150_000, b"\0")
    content = saved(plain(BROWN), "JPEG", quality=100, subsampling=0, icc_profile=profile)
    start = content.index(b"ICC_PROFILE") - 4
    (byte_count,) = struct.unpack_from(">H", content, start + 2)
    end = start + 2 + byte_count
    swapped = (
        content[:start]
        + content[end : end + 2 + byte_count]
        + content[start:end]
        + content[end + 2 + byte_count :]
    )
    for file in (content, swapped):
        assert near(pixel(file), in_srgb(BROWN, DISPLAY_P3), 2)


def test_pictures_in_srgb_are_not_converted() -> None:
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (made, profiles.rgb_profile(SRGB)):
        assert colour.find(ColourTags(icc_profile=profile), "RGB") is None
        assert pixel(saved(plain(BROWN), icc_profile=profile)) == BROWN
    assert colour.find(ColourTags(icc_profile=P3), "RGB") is not None


def test_transparency_stays_where_colours_are_converted() -> None:
    image = plain((*BROWN, 255), "RGBA")
    image.paste((*BROWN, 0), (0, 0, 20, 64))
    for file_format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        result = decode(saved(image, file_format, icc_profile=P3, **options))
        assert result.getpixel((5, 5)) == (255, 255, 255)
        assert near(result.getpixel((40, 30)), in_srgb(BROWN, DISPLAY_P3), 2)
    palette = plain(BROWN).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert near(pixel(saved(palette, icc_profile=P3)), in_srgb(BROWN, DISPLAY_P3), 2)


def test_a_reduced_picture_is_converted_in_every_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 10_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 6_000)
    result = decode(saved(Image.new("RGB", (200, 900), BROWN), icc_profile=P3))
    assert result.size == (40, 180)
    [(_, found)] = result.getcolors()
    assert near(found, in_srgb(BROWN, DISPLAY_P3), 2)


def test_a_kept_picture_is_srgb_and_has_no_profile() -> None:
    kept = source_images.normalise(saved(plain(BROWN), icc_profile=P3))
    with Image.open(io.BytesIO(kept)) as image:
        assert "icc_profile" not in image.info
        assert near(image.getpixel((5, 5)), in_srgb(BROWN, DISPLAY_P3), 2)
