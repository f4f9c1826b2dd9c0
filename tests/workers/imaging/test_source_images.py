import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images import BLUE, RED, halves, near, png_of, saved
from workers.imaging import source_images
from workers.imaging.source_images import InvalidImage, decode


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 95})],
)
def test_the_three_formats_are_read_as_rgb(file_format: str, options: dict[str, object]) -> None:
    image = decode(saved(halves(), file_format, **options))
    assert (image.mode, image.size) == ("RGB", (96, 64))
    assert near(image.getpixel((10, 30)), RED)
    assert near(image.getpixel((85, 30)), BLUE)


@pytest.mark.parametrize("file_format", ["BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused_though_pillow_reads_them(file_format: str) -> None:
    with pytest.raises(InvalidImage, match="not a readable PNG, JPEG, WebP, HEIC, AVIF or GIF image"):
        decode(saved(halves(64, 64), file_format))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89",
        b"hello",
        b"\x00" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS",
    ],
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidImage, match="not a readable PNG, JPEG, WebP, HEIC, AVIF or GIF image"):
        decode(content)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(InvalidImage, match="more than 60 megapixels"):
        decode(png_of(7501, 8000))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_where_warnings_are_only_printed() -> None:
    with pytest.raises(InvalidImage, match="more than 60 megapixels"):
        decode(png_of(7501, 8000))


@pytest.mark.parametrize("side_pixels", [8_000, 12_000, 60_000, 2**31 - 1])
def test_no_size_in_a_header_leads_to_anything_but_a_refusal(side_pixels: int) -> None:
    with pytest.raises(InvalidImage, match="more than 60 megapixels"):
        decode(png_of(side_pixels, side_pixels))


def test_a_webp_bomb_is_refused_before_its_canvas_is_made() -> None:
    side = (16_383).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    with pytest.raises(InvalidImage, match="more than 60 megapixels"):
        decode(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)


def test_sixteen_megapixels_are_read_at_their_full_size() -> None:
    assert decode(saved(Image.new("L", (4000, 4000)))).size == (4000, 4000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "size"),
    [
        ("JPEG", (5712, 4284)),
        ("JPEG", (6144, 8160)),
        ("JPEG", (7745, 7745)),
        ("PNG", (7745, 7745)),
        ("WEBP", (6144, 8160)),
    ],
)
def test_photos_of_24_to_60_megapixels_are_read_reduced(file_format: str, size: tuple[int, int]) -> None:
    options: dict[str, dict[str, Any]] = {
        "PNG": {"compress_level": 1},
        "JPEG": {"progressive": True},
        "WEBP": {"method": 0},
    }
    picture = decode(saved(halves(*size), file_format, **options[file_format]))
    assert source_images.KEPT_PIXELS <= picture.width * picture.height <= source_images.MAX_FULL_PIXELS
    assert abs(picture.width / picture.height / (size[0] / size[1]) - 1) < 0.001
    assert near(picture.getpixel((10, 30)), RED)
    assert near(picture.getpixel((picture.width - 10, picture.height - 10)), BLUE)
    assert near(picture.getpixel((picture.width // 2 + 20, picture.height // 2)), BLUE)


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("P", 0), ("1", 1), ("L", 200), ("LA", (200, 128)), ("RGBA", (10, 20, 30, 40)), ("I;16", 40_000)],
)
def test_a_reduced_picture_has_the_colours_of_the_full_one(
    mode: str, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(Image.new(mode, (300, 201), colour))
    full = decode(content)
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 10_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 6_000)
    reduced = decode(content)
    assert reduced.size == (100, 67)
    assert reduced.getcolors() == [(6_700, full.getpixel((0, 0)))]


def test_a_reduced_picture_is_the_full_one_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (600, 450, 3), dtype=np.uint8)
    whole = Image.fromarray(pixels)
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 10_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 30_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(whole)).tobytes() == whole.reduce(3).tobytes()
    lying = whole.transpose(Image.Transpose.ROTATE_90)
    assert decode(saved(lying, exif=exif.tobytes())).tobytes() == whole.reduce(3).tobytes()


@pytest.mark.parametrize("size", [(63, 64), (64, 63), (1, 1)])
def test_a_side_under_64_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImage, match=f"under 64 pixels on a side: {size[0]}x{size[1]}"):
        decode(saved(Image.new("RGB", size)))


def test_a_zero_sized_image_is_refused() -> None:
    with pytest.raises(InvalidImage):
        decode(png_of(0, 0))


@pytest.mark.parametrize("size", [(513, 64), (64, 513)])
def test_a_ratio_over_8_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImage, match="longer than 8:1"):
        decode(saved(Image.new("RGB", size)))


@pytest.mark.parametrize("size", [(512, 64), (64, 512), (64, 64)])
def test_the_limits_themselves_are_allowed(size: tuple[int, int]) -> None:
    assert decode(saved(Image.new("RGB", size))).size == size


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_refused(file_format: str, kept: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    content = saved(Image.fromarray(pixels), file_format)
    with pytest.raises(InvalidImage):
        decode(content[: int(len(content) * kept)])


def test_pixels_that_are_missing_or_broken_are_refused() -> None:
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(png_of(64, 64, data=b"too few"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_applied(file_format: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    lying = halves().transpose(undo[orientation]) if orientation in undo else halves()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(saved(lying, file_format, exif=exif.tobytes()))
    assert image.size == (96, 64)
    assert near(image.getpixel((10, 30)), RED, 16)
    assert near(image.getpixel((85, 30)), BLUE, 16)


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 32, 64))
    result = decode(saved(image))
    assert near(result.getpixel((5, 5)), (255, 127, 127))
    assert result.getpixel((60, 5)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    result = decode(saved(image, transparency=image.getpixel((0, 0))))
    assert result.getpixel((5, 5)) == (255, 255, 255)
    assert near(result.getpixel((85, 5)), BLUE)


def test_a_palette_is_read() -> None:
    result = decode(saved(halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)))
    assert near(result.getpixel((5, 5)), RED)


@pytest.mark.parametrize("transparency", [(255, 0, 0), None])
def test_a_colour_named_as_transparent_is_laid_on_white(transparency: tuple[int, int, int] | None) -> None:
    result = decode(saved(halves(), transparency=transparency) if transparency else saved(halves()))
    assert result.getpixel((5, 5)) == ((255, 255, 255) if transparency else RED)


def test_cmyk_is_read() -> None:
    result = decode(saved(halves().convert("CMYK"), "JPEG", quality=95))
    assert near(result.getpixel((10, 30)), RED, 16)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_greys_are_read(mode: str) -> None:
    result = decode(saved(Image.new("L", (64, 64), 255).convert(mode)))
    assert result.getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off() -> None:
    values = np.full((64, 64), 128 * 256, dtype=np.uint16)
    assert decode(saved(Image.fromarray(values))).getpixel((5, 5)) == (128, 128, 128)


def test_sixteen_bits_of_colour_are_scaled() -> None:
    row = b"\x00" + struct.pack(">3H", 65_535, 32_768, 0) * 64
    assert decode(png_of(64, 64, depth=16, data=row * 64)).getpixel((5, 5)) == (255, 128, 0)


@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_of_an_animation_the_first_frame_is_taken(file_format: str, options: dict[str, object]) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    content = saved(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert decode(content).getpixel((5, 5)) == RED


def test_a_text_bomb_in_a_png_is_never_inflated() -> None:
    text = zlib.compress(b"a" * 80_000_000)
    content = b"note\x00\x00" + text
    chunk = (
        struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))
    )
    png = saved(halves())
    assert decode(png[:33] + chunk + png[33:]).size == (96, 64)


def test_trailing_bytes_do_no_harm() -> None:
    assert decode(saved(halves()) + b"<script>").size == (96, 64)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_broken_bytes_lead_to_a_picture_or_a_refusal_and_nothing_else(file_format: str) -> None:
    """Pillow warns of odd metadata and goes on, as it does in production."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(halves(), file_format, exif=exif.tobytes())
    chance = random.Random(3)
    refused = 0
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            content[min(int(chance.expovariate(0.02)), len(content) - 1)] = chance.randrange(256)
        try:
            assert decode(bytes(content)).mode == "RGB"
        except InvalidImage:
            refused += 1
    assert refused


def test_a_message_is_a_sentence_for_the_client() -> None:
    with pytest.raises(InvalidImage, match=r"^The image .*\.$"):
        decode(png_of(10, 10))


def test_the_limit_is_pillows_own_as_well() -> None:
    assert Image.MAX_IMAGE_PIXELS == source_images.MAX_PIXELS
