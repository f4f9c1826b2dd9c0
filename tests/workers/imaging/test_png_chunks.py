"""PNG files with more than their picture: what no pixel needs is passed over, however large or broken it is."""

import io
import struct
import zlib

import pytest
from PIL import Image

from tests.images import BLUE, RED, chunk, halves, near, saved, with_chunk
from workers.imaging import png_chunks
from workers.imaging.source_images import InvalidImage, decode

PNG = saved(halves())
PALETTE = saved(halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=2), transparency=0)
METADATA = [
    (b"tEXt", b"Software\0scanner"),
    (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    (b"tIME", bytes(7)),
    (b"gAMA", bytes(4)),
    (b"eXIf", b"II*\0"),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"),
    (b"acTL", bytes(8)),
    (b"PLTE", bytes(3)),
]


def broken(png: bytes, kind: bytes) -> bytes:
    """Make the checksum of the first chunk of this kind wrong."""
    start = png.index(kind)
    (byte_count,) = struct.unpack_from(">I", png, start - 4)
    end = start + 4 + byte_count
    return png[:end] + bytes([png[end] ^ 1]) + png[end + 1 :]


@pytest.mark.parametrize(("kind", "data"), METADATA)
def test_a_wrong_checksum_of_what_no_pixel_needs_is_no_reason_to_refuse(kind: bytes, data: bytes) -> None:
    assert decode(with_chunk(PNG, kind, data, is_intact=False)).tobytes() == halves().tobytes()
    assert decode(PNG[:-12] + chunk(kind, data)[:-1] + b"?" + PNG[-12:]).tobytes() == halves().tobytes()


@pytest.mark.parametrize(("png", "kind"), [(PNG, b"IHDR"), (PALETTE, b"PLTE"), (PALETTE, b"tRNS")])
def test_a_wrong_checksum_of_what_pixels_need_is_refused(png: bytes, kind: bytes) -> None:
    assert decode(png).size == (96, 64)
    with pytest.raises(InvalidImage, match="header is broken"):
        decode(broken(png, kind))


def test_pixels_of_wrong_bytes_are_refused_whatever_the_chunks_checksum() -> None:
    start = PNG.index(b"IDAT")
    (byte_count,) = struct.unpack_from(">I", PNG, start - 4)
    data = bytearray(PNG[start + 4 : start + 4 + byte_count])
    data[-1] ^= 1
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(PNG[: start - 4] + chunk(b"IDAT", bytes(data)) + PNG[-12:])


@pytest.mark.parametrize("byte_count", [1, 11, 1000, 65_536, 3_000_000])
@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"P"])
def test_any_trailer_is_passed_over(byte: bytes, byte_count: int) -> None:
    assert decode(PNG + byte * byte_count).tobytes() == halves().tobytes()
    assert decode(PNG + chunk(b"abCd", b"") * 10_000).size == (96, 64)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"tEXt", b"note\0" + bytes(3_000_000)),
        (b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000))),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(30_000_000))),
        (b"zTXt", b"Raw profile type exif\0\0" + b"no stream"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(30_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0"),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000))),
        (b"eXIf", bytes(3_000_000)),
        (b"prVt", bytes(3_000_000)),
    ],
)
def test_metadata_of_megabytes_is_passed_over(kind: bytes, data: bytes) -> None:
    assert decode(with_chunk(PNG, kind, data)).tobytes() == halves().tobytes()


def test_metadata_counts_only_while_it_is_intact_and_is_inflated_to_a_limit() -> None:
    exif = b"II*\0" + struct.pack("<IHHHIH", 8, 1, 0x0112, 3, 1, 6) + bytes(2)
    assert decode(with_chunk(PNG, b"eXIf", exif)).size == (64, 96)
    assert decode(with_chunk(PNG, b"eXIf", exif, is_intact=False)).size == (96, 64)
    bomb = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(30_000_000))
    assert len(png_chunks.read(with_chunk(PNG, b"iTXt", bomb)).xmp) == png_chunks.MAX_TEXT_BYTES


def test_a_png_without_its_end_has_all_of_its_pixels_and_one_that_is_cut_has_not() -> None:
    end = len(PNG) - 12
    for whole in (PNG[:end], PNG[: end + 5], PNG[: end - 4], PNG[:end] + bytes(300_000)):
        assert decode(whole).tobytes() == halves().tobytes()
    with pytest.raises(InvalidImage, match="truncated or broken"):
        decode(PNG[: end - 20])


def test_pixels_in_many_small_chunks_are_put_together() -> None:
    start = PNG.index(b"IDAT") - 4
    data = PNG[start + 8 : -16]
    pieces = b"".join(chunk(b"IDAT", data[i : i + 1]) for i in range(len(data)))
    assert decode(PNG[:start] + pieces + PNG[-12:]).tobytes() == halves().tobytes()


@pytest.mark.parametrize("kind", [b"abCd", b"IDAT"])
def test_very_many_chunks_are_refused_before_a_decoder_walks_them(kind: bytes) -> None:
    assert decode(PNG[:33] + chunk(b"abCd", b"") * 4_000 + PNG[33:]).size == (96, 64)
    with pytest.raises(InvalidImage, match="too many parts"):
        decode(PNG[:33] + chunk(kind, b"") * 10_000 + PNG[33:])


def test_the_decoder_gets_nothing_but_header_palette_transparency_and_pixels() -> None:
    frames = [Image.new("P", (64, 64), 0), Image.new("P", (64, 64), 1)]
    animated = saved(frames[0], save_all=True, append_images=frames[1:], transparency=0)
    file = png_chunks.read(with_chunk(animated, b"tEXt", b"a\0b") + b"trailer")
    with Image.open(io.BytesIO(file.content)) as image:
        image.load()
        assert (image.mode, set(image.info)) == ("P", {"transparency"})


def test_the_first_of_two_headers_counts_for_the_size_and_for_the_pixels() -> None:
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    image = decode(PNG[:33] + second + PNG[33:])
    assert image.size == (96, 64)
    assert near(image.getpixel((10, 30)), RED)
    assert near(image.getpixel((85, 30)), BLUE)


@pytest.mark.parametrize(
    "content", [PNG[:8], PNG[:20], PNG[:8] + PNG[33:], PNG[:8] + chunk(b"CgBI", b"1234") + PNG[8:]]
)
def test_a_png_that_does_not_begin_with_its_header_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidImage, match="header is broken"):
        decode(content)
