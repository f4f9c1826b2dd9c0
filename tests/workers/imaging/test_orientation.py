"""The turn of a picture by its metadata, readable or not. Turns of whole files are tested with source images."""

import struct
import zlib

import pytest

from tests.images import halves, saved, with_chunk
from workers.imaging.orientation import turn_upright
from workers.imaging.source_images import decode

LYING, UPRIGHT = (96, 64), (64, 96)


def entry(order: str, kind: int, value: bytes) -> bytes:
    """Write EXIF with one entry, the orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value.ljust(4, b"\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(1, "B"), (3, "H"), (4, "I")])
def test_the_orientation_is_read_in_both_byte_orders_and_as_any_whole_number(
    order: str, kind: int, form: str
) -> None:
    exif = entry(order, kind, struct.pack(order + form, 6))
    assert turn_upright(halves(), exif=exif, xmp=b"").size == UPRIGHT
    assert turn_upright(halves(), exif=b"Exif\0\0" + exif, xmp=b"").size == UPRIGHT


@pytest.mark.parametrize("value", [0, 1, 9, 255])
def test_an_unknown_orientation_turns_nothing(value: int) -> None:
    exif = entry("<", 3, struct.pack("<H", value))
    assert turn_upright(halves(), exif=exif, xmp=b"").tobytes() == halves().tobytes()


@pytest.mark.parametrize("xmp", [b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"])
def test_xmp_counts_where_exif_says_nothing(xmp: bytes) -> None:
    assert turn_upright(halves(), exif=b"", xmp=xmp).size == UPRIGHT
    assert turn_upright(halves(), exif=entry("<", 3, b"\1"), xmp=xmp).size == LYING
    assert decode(saved(halves(), "JPEG", xmp=xmp)).size == UPRIGHT
    assert decode(saved(halves(), "WEBP", xmp=xmp)).size == UPRIGHT
    for flag, text in ((b"\0", xmp), (b"\1", zlib.compress(xmp))):
        data = b"XML:com.adobe.xmp\0" + flag + b"\0en\0\0" + text
        assert decode(with_chunk(saved(halves()), b"iTXt", data)).size == UPRIGHT


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_exif_that_imagemagick_wrote_as_text_is_read(kind: bytes) -> None:
    exif = b"Exif\0\0" + entry("<", 3, b"\6")
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    data = b"Raw profile type exif\0" + (text if kind == b"tEXt" else b"\0" + zlib.compress(text))
    assert decode(with_chunk(saved(halves()), kind, data)).size == UPRIGHT


def test_metadata_that_names_its_megabytes_again_and_again_is_not_followed() -> None:
    entries = struct.pack("<HHII", 0x010E, 2, 8_000_000, 0) * 65_535
    exif = b"II*\0" + struct.pack("<IH", 8, 65_535) + entries + bytes(8_000_000)
    assert turn_upright(halves(), exif=exif, xmp=b"").size == LYING
    assert decode(with_chunk(saved(halves()), b"eXIf", exif)).size == LYING


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"junk", b"II*\x00\xff\xff\xff\x7f", b"MM\x00*"])
def test_metadata_that_cannot_be_read_costs_only_the_orientation(file_format: str, exif: bytes) -> None:
    assert decode(saved(halves(), file_format, exif=b"Exif\x00\x00" + exif)).size == (96, 64)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_the_orientation_is_applied_beside_a_value_of_an_odd_type(file_format: str) -> None:
    description_as_a_ratio = struct.pack("<HHII", 0x010E, 5, 1, 8)
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 2) + description_as_a_ratio + orientation + bytes(4)
    assert decode(saved(halves(), file_format, exif=exif)).size == (64, 96)
