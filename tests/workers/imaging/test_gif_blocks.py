"""GIF files: their first frame is the picture, whatever metadata stands before it."""

import struct

import numpy as np
import pytest
from PIL import Image

from tests.images import BLUE, RED, halves, near, saved
from workers.imaging import gif_blocks
from workers.imaging.source_images import InvalidImage, decode

GIF = saved(halves(), "GIF")
FRAME = GIF.index(b",\0\0\0\0")


def with_block(gif: bytes, block: bytes) -> bytes:
    """Put a block before the first frame."""
    start = gif.index(b",\0\0\0\0")
    return gif[:start] + block + gif[start:]


def test_the_first_frame_of_an_animation_is_the_picture() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0, duration=100)
    assert decode(content).getcolors() == [(64 * 64, RED)]


def test_later_frames_may_be_broken() -> None:
    assert decode(GIF[:-1] + b"?" * 1_000).tobytes() == decode(GIF).tobytes()
    assert near(decode(GIF).getpixel((10, 30)), RED)


def test_the_transparent_colour_is_white() -> None:
    image = halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    result = decode(saved(image, "GIF", transparency=image.getpixel((0, 0))))
    assert result.getpixel((5, 5)) == (255, 255, 255)
    assert near(result.getpixel((85, 5)), BLUE)


def test_around_a_frame_that_is_smaller_than_the_picture_it_is_white() -> None:
    content = bytearray(GIF)
    content[6:10] = struct.pack("<2H", 200, 150)
    content[FRAME + 1 : FRAME + 5] = struct.pack("<2H", 20, 30)
    result = decode(bytes(content))
    assert result.size == (200, 150)
    assert [result.getpixel(place) for place in ((5, 5), (150, 60), (60, 120))] == [(255, 255, 255)] * 3
    assert near(result.getpixel((30, 60)), RED)
    assert near(result.getpixel((110, 60)), BLUE)


def test_a_frame_that_is_larger_than_the_picture_is_shown_whole() -> None:
    content = GIF[:6] + struct.pack("<2H", 1, 1) + GIF[10:]
    assert decode(content).tobytes() == decode(GIF).tobytes()


def test_megabytes_of_metadata_are_passed_over_and_more_pieces_than_any_program_writes_refused() -> None:
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0"
    assert decode(with_block(GIF, comment)).tobytes() == decode(GIF).tobytes()
    assert b"c" * 255 not in gif_blocks.read(with_block(GIF, comment)).content
    for block in (b"!\xfe" + b"\1c" * 200_000 + b"\0", b"!\xfe\0" * 200_000):
        with pytest.raises(InvalidImage, match="too many parts"):
            decode(with_block(GIF, block))


@pytest.mark.parametrize("content", [GIF[:6], GIF[:20], GIF[:FRAME], GIF[:FRAME] + b";", GIF[: FRAME + 6]])
def test_a_gif_without_a_frame_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidImage, match="header is broken"):
        decode(content)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_frame_is_refused(kept: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (128, 128), dtype=np.uint8)
    content = saved(Image.fromarray(pixels), "GIF")
    with pytest.raises(InvalidImage):
        decode(content[: int(len(content) * kept)])


@pytest.mark.parametrize("size", [(65_535, 65_535), (8_000, 8_000)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    for start in (6, FRAME + 5):
        content = bytearray(GIF)
        content[start : start + 4] = struct.pack("<2H", *size)
        with pytest.raises(InvalidImage, match="more than 60 megapixels"):
            decode(bytes(content))
