"""Normalised source images, and files that were made to keep a decoder busy or to fill the memory."""

import io
import struct
import subprocess
import sys

import pytest
from PIL import Image

from tests.images import halves, png_of, saved
from tests.processes import ROOT
from workers.imaging import source_images
from workers.imaging.source_images import decode


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


HEADER_ALONE = """
import resource, sys, time, tracemalloc
from workers.imaging import source_images
content = bytes.fromhex(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source_images.normalise(b"no image")
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
    assert message == "The image has more than 60 megapixels."
    assert int(resident_kib) < 10_000
    assert int(traced_bytes) < 1_000_000
    # It takes under 10 ms; the bound leaves room for a machine that does much else.
    assert float(seconds) < 1
