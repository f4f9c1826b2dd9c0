"""JPEG files with more than their picture, and files that lack something.

Only missing pixels are a reason to refuse.
"""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images import RED, halves, near, saved
from workers.imaging import jpeg_segments, source_images
from workers.imaging.source_images import InvalidImage, decode

JPEG = saved(halves(), "JPEG")
NOISE = Image.fromarray(np.random.default_rng(2).integers(0, 256, (128, 128, 3), dtype=np.uint8))
FORMS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"restart_marker_rows": 1},
    {"optimize": True},
]
FLAT = Image.new("RGB", (640, 640), (90, 140, 200))


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def scans(content: bytes, count: int) -> bytes:
    """Return a progressive JPEG with its last scan so many times more."""
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + b"\xff\xd9"


@pytest.mark.parametrize(
    "trailer",
    [
        bytes(300_000),
        b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4_000,
        b"\xff\xda" * 1_000,
        segment(0xFE, b"") * 10_000,
        JPEG * 200,
    ],
    ids=["zeros", "a film", "scans", "segments", "further pictures"],
)
def test_any_trailer_is_passed_over(trailer: bytes) -> None:
    assert decode(JPEG + trailer).tobytes() == decode(JPEG).tobytes()


def test_metadata_of_megabytes_is_passed_over() -> None:
    megabytes = b"".join(segment(marker, bytes(65_000)) for marker in (0xE1, 0xE2, 0xED, 0xEF, 0xFE)) * 10
    exif = segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 20
    assert decode(JPEG[:2] + megabytes + exif + JPEG[2:]).tobytes() == decode(JPEG).tobytes()


@pytest.mark.parametrize("filler", [b"\xff" * 10_000, bytes(10_000), b"\xff\xd0" * 10_000])
def test_bytes_between_segments_are_passed_over(filler: bytes) -> None:
    assert decode(JPEG[:2] + filler + JPEG[2:]).tobytes() == decode(JPEG).tobytes()


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("picture", [NOISE, FLAT, FLAT.convert("L"), NOISE.convert("CMYK")])
def test_without_its_end_marker_a_jpeg_has_all_of_its_pixels(
    picture: Image.Image, form: dict[str, Any]
) -> None:
    whole = saved(picture, "JPEG", **form)
    pixels = decode(whole).tobytes()
    for content in (whole[:-1], whole[:-2], whole[:-2] + bytes(500)):
        assert decode(content).tobytes() == pixels


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("picture", [NOISE, FLAT, FLAT.convert("L"), NOISE.convert("CMYK")])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.75, 0.95])
def test_a_jpeg_that_lacks_pixels_is_refused(picture: Image.Image, form: dict[str, Any], kept: float) -> None:
    whole = saved(picture, "JPEG", **form)
    with pytest.raises(InvalidImage):
        decode(whole[: int(len(whole) * kept)])


def test_a_progressive_jpeg_that_lacks_a_whole_scan_is_refused() -> None:
    whole = saved(NOISE, "JPEG", progressive=True)
    starts = [i for i in range(len(whole)) if whole.startswith(b"\xff\xda", i)]
    for start in starts:
        with pytest.raises(InvalidImage, match="truncated or broken"):
            decode(whole[:start])


@pytest.mark.parametrize("cut", [3, 4, 8])
def test_the_last_bytes_of_the_pixels_are_needed(cut: int) -> None:
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(saved(NOISE, "JPEG")[:-cut])


def test_very_many_segments_are_refused() -> None:
    assert decode(JPEG[:2] + segment(0xFE, b"") * 4_000 + JPEG[2:]).size == (96, 64)
    with pytest.raises(InvalidImage, match="too many parts"):
        decode(JPEG[:2] + segment(0xFE, b"") * 10_000 + JPEG[2:])


def test_a_jpeg_that_repaints_its_pixels_again_and_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    progressive = saved(halves(), "JPEG", progressive=True)
    assert decode(scans(progressive, 50)).size == (96, 64)
    with pytest.raises(InvalidImage, match="too many parts"):
        decode(scans(progressive, 100))
    monkeypatch.setattr(source_images, "MAX_SCANNED_PIXELS", 40 * 96 * 64)
    with pytest.raises(InvalidImage, match="too many parts"):
        decode(scans(progressive, 50))


def test_a_photograph_with_a_second_one_behind_it_is_read() -> None:
    file = io.BytesIO()
    halves().save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    assert near(decode(file.getvalue()).getpixel((10, 30)), RED)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_decoder_gets_the_colours_and_no_metadata(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(
        halves().convert(mode), "JPEG", exif=exif.tobytes(), comment=b"note", icc_profile=b"profile"
    )
    with Image.open(io.BytesIO(content)) as whole, Image.open(io.BytesIO(_stripped(content))) as image:
        assert image.tobytes() == whole.tobytes()
        assert not {"exif", "comment", "icc_profile"} & set(image.info)


def _stripped(content: bytes) -> bytes:
    file = jpeg_segments.read(content)
    assert file.exif
    return file.content + file.endings[0]
