import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFilter

from bench import pictures
from tests import factories
from workers.imaging import png

RANDOM = np.random.default_rng(1)


def noise(width: int = 200, height: int = 100) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))


def ramp(width: int = 256, height: int = 256) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8))


def half_plain(side: int = 128) -> Image.Image:
    image = noise(side, side)
    image.paste("white", (side // 2, 0, side, side))
    return image


def painted(*, width: int, height: int, shades: int, seed: int) -> np.ndarray:
    """Pixels of as many shades, from all alike to noise, in stripes of a width of their own."""
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, (shades, 3), dtype=np.uint8)
    stripe = int(random.integers(1, 9))
    pixels = palette[random.integers(0, shades, (height, -(-width // stripe)))]
    return np.repeat(pixels, stripe, axis=1)[:, :width]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Names and data; every checksum is looked at, and nothing may follow the last chunk."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, offset = [], 8
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        name, data = content[offset + 4 : offset + 8], content[offset + 8 : offset + 8 + length]
        assert len(data) == length
        (checksum,) = struct.unpack_from(">I", content, offset + 8 + length)
        assert checksum == zlib.crc32(name + data)
        found.append((name, data))
        offset += 12 + length
    return found


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as back:
        back.load()
        return back


@pytest.mark.parametrize("image", [noise(), ramp(), half_plain(), Image.new("RGB", (64, 64), "navy")])
def test_every_pixel_comes_back(image: Image.Image) -> None:
    back = decoded(png.encode(image))
    assert back.mode == "RGB"
    assert back.tobytes() == image.tobytes()


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 150),
    shades=st.integers(1, 64),
    seed=st.integers(0, 2**32),
)
def test_every_pixel_comes_back_from_any_size(width: int, height: int, shades: int, seed: int) -> None:
    pixels = painted(width=width, height=height, shades=shades, seed=seed)
    content = png.encode(pixels)
    header, data, end = chunks(content)
    assert header == (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    assert data[0] == b"IDAT"
    assert len(zlib.decompress(data[1])) == height * (1 + 3 * width)
    assert end == (b"IEND", b"")
    assert np.array_equal(np.asarray(decoded(content)), pixels)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 300), (300, 1), (2, 3), (64, 64), (4096, 64), (64, 512)]
)
def test_no_shape_is_special(width: int, height: int) -> None:
    image = noise(width, height)
    assert decoded(png.encode(image)).tobytes() == image.tobytes()


@pytest.mark.parametrize("plan", png.PLANS)
@pytest.mark.parametrize("kind", pictures.KINDS)
def test_every_plan_keeps_every_pixel(plan: png.Plan, kind: str) -> None:
    pixels = np.asarray(pictures.KINDS[kind](96))
    rows = list(png.filter_rows(pixels, plan.filter))
    assert all((some[:, 0] == plan.filter).all() for some in rows)
    content = png.assemble(rows, width=96, height=96, plan=plan)
    assert np.array_equal(np.asarray(decoded(content)), pixels)


def test_rows_in_one_array_give_the_same_bytes_as_rows_in_several() -> None:
    pixels = np.asarray(noise(100, 3 * png.BLOCK_ROWS + 5))
    rows = np.concatenate(list(png.filter_rows(pixels, png.Filter.AVERAGE)))
    assert rows.shape == (197, 301)
    assert png.assemble([rows], width=100, height=197) == png.encode(pixels)


def test_an_array_gives_what_its_image_gives() -> None:
    image = ramp()
    pixels = np.asarray(image)
    assert png.encode(pixels) == png.encode(image)
    mirrored = png.encode(pixels[:, ::-1])
    assert np.array_equal(np.asarray(decoded(mirrored)), pixels[:, ::-1]), (
        "an array need not lie in one piece"
    )


def test_threads_encode_side_by_side() -> None:
    images = [pictures.KINDS[kind](256) for kind in pictures.KINDS]
    alone = [png.encode(image) for image in images]
    together = factories.at_once(20, lambda number: png.encode(images[number % len(images)]))
    assert together == alone * 4


def test_there_is_nothing_but_pixels_in_it() -> None:
    image = ramp()
    image.info = {
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "exif": b"Exif\x00\x00II*\x00",
        "Comment": "a secret",
        "dpi": (72, 72),
        "transparency": (0, 0, 0),
    }
    content = png.encode(image)
    assert [name for name, _ in chunks(content)] == [b"IHDR", b"IDAT", b"IEND"]
    assert "icc_profile" in image.info, "the caller's image is left as it was"


def test_the_same_image_gives_the_same_bytes() -> None:
    image = noise()
    assert png.encode(image) == png.encode(image.copy())


def test_it_is_small_for_what_is_smooth_and_not_blown_up_by_noise() -> None:
    pixels_byte_count = 256 * 256 * 3
    assert len(png.encode(ramp())) < pixels_byte_count / 6
    assert len(png.encode(Image.new("RGB", (256, 256), "navy"))) < pixels_byte_count / 100
    assert len(png.encode(noise(256, 256))) < pixels_byte_count * 1.01


@pytest.mark.parametrize("kind", pictures.KINDS)
def test_it_is_hardly_larger_than_what_pillow_writes_in_many_times_the_time(kind: str) -> None:
    image = pictures.KINDS[kind](512)
    usual = io.BytesIO()
    image.save(usual, "PNG")
    assert len(png.encode(image)) <= 1.05 * len(usual.getvalue())


def test_it_is_small_where_plain_areas_lie_beside_grain_and_in_grey() -> None:
    framed = pictures.photo(512)
    framed.paste("white", (360, 0, 512, 512))
    for image in (framed, half_plain(512), pictures.photo(512).convert("L").convert("RGB")):
        usual = io.BytesIO()
        image.save(usual, "PNG")
        assert len(png.encode(image)) <= 1.02 * len(usual.getvalue())


def soft_painting(side: int = 512) -> np.ndarray:
    """Plain shapes with soft edges under the faintest grain that a decoder leaves."""
    soft = np.asarray(pictures.flat(side).filter(ImageFilter.GaussianBlur(6)))
    grainy = soft + np.random.default_rng(1).normal(0, 0.4, soft.shape)
    return np.clip(np.rint(grainy), 0, 255).astype(np.uint8)


def size_by_plan(pixels: np.ndarray, plan: png.Plan) -> int:
    height, width = pixels.shape[:2]
    return len(png.assemble(png.filter_rows(pixels, plan.filter), width=width, height=height, plan=plan))


def test_a_soft_painting_is_smallest_after_paeths_filter() -> None:
    pixels = soft_painting()
    others = [plan for plan in png.PLANS if plan.filter is not png.Filter.PAETH]
    assert len(png.encode(pixels)) < 0.95 * min(size_by_plan(pixels, plan) for plan in others)


def test_a_sample_does_not_hide_the_matches_of_the_whole_picture() -> None:
    enlarged = np.asarray(pictures.flat(256).resize((512, 512), Image.Resampling.BICUBIC))
    assert len(png.encode(enlarged)) == min(size_by_plan(enlarged, plan) for plan in png.PLANS)


def test_paeths_filter_predicts_as_the_specification_does() -> None:
    left, above, corner = np.random.default_rng(1).integers(0, 256, (3, 500, 2000), dtype=np.uint8)
    # Bytes that are close to each other make ties.
    for divisor in (1, 64):
        a, b, c = left // divisor, above // divisor, corner // divisor
        pixels = np.zeros((1000, 2000, 3), np.uint8)
        pixels[0::2, 0::2, 0], pixels[0::2, 1::2, 0], pixels[1::2, 0::2, 0] = (
            c[:, :1000],
            b[:, :1000],
            a[:, :1000],
        )
        (rows,) = [np.concatenate(list(png.filter_rows(pixels, png.Filter.PAETH)))]
        predicted = -rows[1::2, 1:].reshape(500, 2000, 3)[:, 1::2, 0]
        a, b, c = (plane[:, :1000].astype(int) for plane in (a, b, c))
        estimate = a + b - c
        to_a, to_b, to_c = abs(estimate - a), abs(estimate - b), abs(estimate - c)
        nearest = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
        assert np.array_equal(predicted, nearest)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK"])
def test_another_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"RGB, not {mode}"):
        png.encode(Image.new(mode, (8, 8)))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_an_array_of_anything_else_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="bytes, not"):
        png.encode(pixels)
