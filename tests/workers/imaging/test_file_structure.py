"""Normalised source images, and files that were made to keep a decoder busy or to fill the memory."""

import io
import struct
import subprocess
import sys
import threading
import zlib

import pytest
from PIL import Image

from tests.images import RED, halves, near, png_of, saved
from tests.processes import ROOT
from workers.imaging import source_images
from workers.imaging.pixel_budget import PixelBudget
from workers.imaging.source_images import InvalidImage, decode


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_what_is_kept_of_a_source_is_its_upright_pixels_and_nothing_else(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "canary"
    content = (
        saved(halves(), file_format, exif=exif.tobytes(), icc_profile=b"canary" * 30) + b"<script>canary"
    )
    kept = source_images.normalise(content)
    assert b"canary" in content
    assert b"canary" not in kept
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (64, 96), {})
        assert image.tobytes() == decode(content).tobytes()


def test_what_is_kept_is_kept_unchanged_once_more() -> None:
    kept = source_images.normalise(saved(halves(), "JPEG"))
    assert source_images.normalise(kept) == kept


@pytest.mark.parametrize("size", [(4000, 4000), (11_312, 1_414), (1_414, 11_312), (8_000, 1_999)])
def test_of_a_large_source_four_megapixels_are_kept_and_it_stays_a_source(size: tuple[int, int]) -> None:
    kept = decode(source_images.normalise(saved(Image.new("L", size))))
    assert 0.99 < kept.width * kept.height / source_images.KEPT_PIXELS < 1.01
    assert abs(kept.width / kept.height / (size[0] / size[1]) - 1) < 0.01


def test_a_photograph_with_a_second_one_behind_it_is_read() -> None:
    file = io.BytesIO()
    halves().save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    assert near(decode(file.getvalue()).getpixel((10, 30)), RED)


HEADER_ALONE = """
import resource, sys, time, tracemalloc
from workers.imaging import source_images
content = bytes.fromhex(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source_images.normalise(content[:8])
except source_images.InvalidImage:
    pass
before, started = peak(), time.perf_counter()
tracemalloc.start()
try:
    source_images.normalise(content)
except source_images.InvalidImage as error:
    seconds = time.perf_counter() - started
    print(error, peak() - before, tracemalloc.get_traced_memory()[1], seconds, sep="|")
"""


def jpeg_of(width: int, height: int) -> bytes:
    """Write a JPEG whose header may say anything."""
    content = bytearray(saved(halves(), "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.processes
@pytest.mark.parametrize("content", [png_of(30_000, 30_000), jpeg_of(30_000, 30_000)], ids=["PNG", "JPEG"])
def test_a_header_of_30000_by_30000_is_refused_without_time_or_memory(content: bytes) -> None:
    command = [sys.executable, "-c", HEADER_ALONE, content.hex()]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    message, resident_kib, traced_bytes, seconds = result.stdout.split("|")
    assert message == "The image has more than 16 megapixels."
    assert int(resident_kib) < 10_000
    assert int(traced_bytes) < 1_000_000
    # It takes under 10 ms; the bound leaves room for a machine that does much else.
    assert float(seconds) < 1


def chunks(name: bytes, count: int) -> bytes:
    """Empty chunks of a PNG."""
    return (struct.pack(">I", 0) + name + struct.pack(">I", zlib.crc32(name))) * count


def test_a_file_of_very_many_parts_is_refused_before_a_decoder_walks_them() -> None:
    png, jpeg = saved(halves()), saved(halves(), "JPEG")
    files = [
        png[:33] + chunks(b"abCd", 10_000) + png[33:],
        png[:33] + chunks(b"IDAT", 10_000) + png[33:],
        jpeg[:2] + b"\xff\xfe\x00\x02" * 10_000 + jpeg[2:],
        jpeg[:2] + b"\xff" * 10_000 + jpeg[2:],
        jpeg[:2] + b"\x00" * 10_000 + jpeg[2:],
    ]
    for content in files:
        with pytest.raises(InvalidImage, match="too many parts"):
            decode(content)


def test_a_jpeg_that_repaints_its_pixels_again_and_again_is_refused() -> None:
    progressive = saved(halves(), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    assert decode(progressive[:-2] + scan * 50 + b"\xff\xd9").size == (96, 64)
    with pytest.raises(InvalidImage, match="too many parts"):
        decode(progressive[:-2] + scan * 100 + b"\xff\xd9")


def test_a_file_of_many_parts_is_read() -> None:
    png, jpeg = saved(halves()), saved(halves(), "JPEG")
    assert decode(png[:33] + chunks(b"abCd", 4_000) + png[33:]).size == (96, 64)
    assert decode(jpeg[:2] + b"\xff\xfe\x00\x02" * 4_000 + jpeg[2:]).size == (96, 64)


def test_a_picture_waits_while_the_pixels_in_work_are_at_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = PixelBudget(3 * 96 * 64)
    monkeypatch.setattr(source_images, "_budget", budget)
    thread = threading.Thread(target=source_images.normalise, args=(saved(halves()),))
    with budget.spend(2 * 96 * 64 + 1):
        thread.start()
        # It takes a few milliseconds where nothing holds it.
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(30)
    assert not thread.is_alive()


def test_a_refused_picture_gives_its_pixels_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "_budget", PixelBudget(96 * 64))
    broken = png_of(96, 64, data=b"too few")
    for _ in range(3):
        with pytest.raises(InvalidImage):
            decode(broken)
    assert decode(saved(halves())).size == (96, 64)


def test_more_pixels_than_the_whole_budget_are_refused_and_not_awaited() -> None:
    with pytest.raises(ValueError, match="more than the whole budget"), PixelBudget(10).spend(11):
        pass
