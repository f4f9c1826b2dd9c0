"""HEIC and AVIF: the same walls as for other formats, and those of the process that decodes them."""

import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images import BLUE, RED, halves, heic, near, saved
from tests.processes import wait_until
from tests.workers.imaging import profiles
from workers.imaging import containers, source_images
from workers.imaging.containers import Unreadable, open_reader
from workers.imaging.memory_budget import MemoryBudget
from workers.imaging.source_images import InvalidImage, decode

pytestmark = pytest.mark.processes
BROWN = (200, 100, 50)


def avif(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "AVIF", quality=95, subsampling="4:4:4", speed=10, **options)


WRITERS = {"HEIC": heic, "AVIF": avif}
both = pytest.mark.parametrize("name", ["HEIC", "AVIF"])


def of_size(content: bytes, width: int, height: int) -> bytes:
    """Write another size into the header, and leave the frame as it is."""
    start = content.index(b"ispe") + 8
    return content[:start] + struct.pack(">II", width, height) + content[start + 8 :]


@both
def test_a_picture_is_read_in_its_colours(name: str) -> None:
    result = decode(WRITERS[name](halves()))
    assert (result.mode, result.size) == ("RGB", (96, 64))
    assert near(result.getpixel((10, 30)), RED)
    assert near(result.getpixel((85, 30)), BLUE)


@both
def test_a_profile_counts_and_transparency_is_laid_on_white(name: str) -> None:
    image = Image.new("RGBA", (64, 64), (*BROWN, 255))
    image.paste((*BROWN, 0), (0, 0, 32, 64))
    result = decode(WRITERS[name](image, icc_profile=profiles.rgb_profile(profiles.DISPLAY_P3)))
    assert near(result.getpixel((5, 30)), (255, 255, 255), 3)
    assert near(result.getpixel((60, 30)), profiles.in_srgb(BROWN, profiles.DISPLAY_P3), 4)


@both
def test_colours_by_number_count(name: str) -> None:
    content = WRITERS[name](Image.new("RGB", (64, 64), BROWN))
    start = content.index(b"colrnclx") + 8
    wide = content[:start] + struct.pack(">HH", 12, 13) + content[start + 4 :]
    assert near(decode(content).getpixel((30, 30)), BROWN, 3)
    assert near(decode(wide).getpixel((30, 30)), profiles.in_srgb(BROWN, profiles.DISPLAY_P3), 4)


@both
@pytest.mark.parametrize("orientation", [5, 6])
def test_a_picture_is_upright(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = halves()
    lying.paste((255, 255, 255), (0, 0, 24, 24))
    result = decode(WRITERS[name](lying, exif=exif.tobytes()))
    # The same orientation of a PNG is tested with source images.
    upright = decode(saved(lying, exif=exif.tobytes()))
    assert result.size == upright.size
    for place in ((4, 4), (result.width - 5, 4), (4, result.height - 5)):
        assert near(result.getpixel(place), upright.getpixel(place), 20)


@both
def test_exif_turns_nothing_where_the_container_says_upright(name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = WRITERS[name](halves(), exif=exif.tobytes())
    assert decode(content).size == (64, 96)
    start = content.index(b"irot") + 4
    assert decode(content[:start] + b"\0" + content[start + 1 :]).size == (96, 64)


@both
def test_the_size_is_checked_before_any_pixel_is_read(name: str) -> None:
    content = WRITERS[name](halves())
    with pytest.raises(InvalidImage, match="image"):
        decode(of_size(content, 30_000, 30_000))
    with pytest.raises(InvalidImage, match="more than 60 megapixels"):
        decode(of_size(content, 7_501, 8_000))
    with pytest.raises(InvalidImage, match="under 64 pixels"):
        decode(of_size(content, 96, 63))


def test_a_frame_that_is_larger_than_its_header_says_is_no_larger_picture() -> None:
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(of_size(heic(Image.new("RGB", (256, 256), BROWN)), 64, 64))
    # The decoder of AVIF scales it.
    assert decode(of_size(avif(Image.new("RGB", (256, 256), BROWN)), 64, 64)).size == (64, 64)


@both
def test_a_picture_is_read_within_its_memory(name: str) -> None:
    content = WRITERS[name](Image.new("RGB", (1001, 1000), BROWN))
    with open_reader(content) as reader:
        assert (reader.header.width, reader.header.height) == (1001, 1000)
        with pytest.raises(Unreadable):
            reader.decode(factor=1, byte_count=0)
    with open_reader(content) as reader:
        assert reader.decode(factor=2, byte_count=100_000_000).size == (501, 500)


def test_a_picture_waits_while_the_bytes_in_work_are_at_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(1_000_000)
    monkeypatch.setattr(source_images, "_budget", budget)
    thread = threading.Thread(target=decode, args=(avif(halves()),))
    with budget.spend(1_000_000):
        thread.start()
        wait_until(lambda: budget._freed._waiters)  # type: ignore[attr-defined] # threading's own list
        assert thread.is_alive()
    thread.join(30)
    assert not thread.is_alive()


@both
def test_a_picture_is_read_within_its_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_SECONDS", 0.001)
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(WRITERS[name](halves()))


@both
@pytest.mark.parametrize("kept", [0.02, 0.9])
def test_a_truncated_picture_is_refused(name: str, kept: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    content = WRITERS[name](Image.fromarray(pixels))
    with pytest.raises(InvalidImage):
        decode(content[: max(24, int(len(content) * kept))])


@both
def test_a_large_picture_is_read_reduced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "MAX_FULL_PIXELS", 5_000)
    monkeypatch.setattr(source_images, "KEPT_PIXELS", 1_000)
    result = decode(WRITERS[name](halves()))
    assert result.size == (48, 32)
    assert near(result.getpixel((5, 15)), RED)
    assert near(result.getpixel((40, 15)), BLUE)


def test_the_first_frame_of_a_sequence_is_the_picture() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    content = avif(frames[0], save_all=True, append_images=frames[1:])
    assert containers.format_of(content) == "AVIF"
    assert near(decode(content).getpixel((30, 30)), RED)


def test_files_are_recognised_by_their_brands() -> None:
    def file(*brands: bytes) -> bytes:
        return struct.pack(">I4s4sI", 16 + 4 * len(brands[1:]), b"ftyp", brands[0], 0) + b"".join(brands[1:])

    assert containers.format_of(file(b"mif1", b"mif1", b"heic")) == "HEIF"
    assert containers.format_of(file(b"mif1", b"mif1", b"avif")) == "AVIF"
    assert containers.format_of(file(b"isom", b"mp42")) == ""
    assert containers.format_of(file(b"isom") + b"heic") == ""
    with pytest.raises(InvalidImage, match="not a readable PNG"):
        decode(file(b"isom", b"mp42"))
    with pytest.raises(InvalidImage):
        decode(file(b"heic", b"mif1"))


def test_the_process_gets_no_environment_and_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    with open_reader(heic(halves())) as reader:
        process = reader._process
        assert b"canary" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert process.poll() is None
    assert process.returncode is not None
