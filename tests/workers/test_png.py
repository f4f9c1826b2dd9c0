import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from workers import png

RANDOM = np.random.default_rng(1)


def noise(width: int = 200, height: int = 100) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))


def ramp(width: int = 256, height: int = 256) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8))


def chunks(content: bytes) -> list[bytes]:
    names, offset = [], 8
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        names.append(content[offset + 4 : offset + 8])
        offset += 12 + length
    return names


@pytest.mark.parametrize("image", [noise(), ramp(), Image.new("RGB", (64, 64), "navy")])
def test_every_pixel_comes_back(image: Image.Image) -> None:
    content = png.encode(image)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as back:
        assert back.mode == "RGB"
        assert back.tobytes() == image.tobytes()


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
    assert set(chunks(content)) == {b"IHDR", b"IDAT", b"IEND"}
    assert "icc_profile" in image.info, "the caller's image is left as it was"


def test_the_same_image_gives_the_same_bytes() -> None:
    image = noise()
    assert png.encode(image) == png.encode(image.copy())


def test_it_is_small_for_what_is_smooth_and_not_blown_up_by_noise() -> None:
    pixels_byte_count = 256 * 256 * 3
    assert len(png.encode(ramp())) < pixels_byte_count / 6
    assert len(png.encode(Image.new("RGB", (256, 256), "navy"))) < pixels_byte_count / 100
    assert len(png.encode(noise(256, 256))) < pixels_byte_count * 1.01


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK"])
def test_another_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"RGB, not {mode}"):
        png.encode(Image.new(mode, (8, 8)))
