"""The chunks of a PNG (W3C PNG specification, third edition, chapters 5 and 11) that its pixels need."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from workers.imaging import icc_profile
from workers.imaging.colour_tags import CodePoints, ColourTags
from workers.imaging.file_structure import MAX_PARTS, BrokenPart, PictureFile, TooManyParts

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# A longer text of metadata is not read.
MAX_TEXT_BYTES: Final = 1024 * 1024
_HEADER: Final = struct.Struct(">I4s")
_IHDR_BYTES: Final = 13
_DEPTH_OFFSET, _COLOUR_TYPE_OFFSET = 8, 9
_GREYS: Final = frozenset({0, 4})
_PALETTE: Final = 3
# Colour information, with the bytes of each chunk. The length of a profile is its own.
_COLOURS: Final = {b"cICP": 4, b"iCCP": None, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
# The colour types in which one grey, one colour or entries of the palette may be transparent.
_WITH_TRANSPARENCY: Final = frozenset({0, 2, _PALETTE})
_XMP: Final = b"XML:com.adobe.xmp"
# ImageMagick wrote EXIF in this text before the chunk eXIf existed: lines with a name, a length and hexadecimal digits.
_RAW_EXIF: Final = b"Raw profile type exif"


class Chunk(NamedTuple):
    """A chunk of a PNG. `is_intact` says whether its checksum is right."""

    kind: bytes
    data: memoryview
    checksum: bytes

    @property
    def is_intact(self) -> bool:
        """Return whether the checksum is right."""
        return zlib.crc32(self.data, zlib.crc32(self.kind)).to_bytes(4, "big") == self.checksum


def read(content: bytes) -> PictureFile:
    """Return the picture of a PNG, without animation, metadata and trailer.

    A chunk that no pixel needs is skipped, whatever its checksum. Checksums of pixels are left for the decoder, as is
    a file that ends too early. Raise TooManyParts, and BrokenPart for a header, palette or transparency that is not
    intact.
    """
    needed: dict[bytes, memoryview] = {}
    pixels: list[memoryview] = []
    exif = xmp = b""
    colours: dict[bytes, bytes] = {}
    for chunk in _chunks(content):
        if chunk.kind == b"IDAT":
            pixels.append(chunk.data)
        elif not needed or (chunk.kind not in needed and _is_needed(chunk.kind, needed[b"IHDR"])):
            needed[chunk.kind] = _checked(chunk, is_first=not needed)
        elif chunk.is_intact:
            if chunk.kind in _COLOURS:
                colours.setdefault(chunk.kind, bytes(chunk.data))
            exif = exif or _exif(chunk)
            xmp = xmp or _text(chunk, _XMP)
    if not needed:
        raise BrokenPart
    parts = [_written(kind, data) for kind, data in needed.items()]
    parts += [_written(b"IDAT", b"".join(pixels)), _written(b"IEND", b"")]
    header, transparent = needed[b"IHDR"], needed.get(b"tRNS", memoryview(b""))
    is_palette = header[_COLOUR_TYPE_OFFSET] == _PALETTE
    return PictureFile(
        b"".join((SIGNATURE, *parts)),
        exif=exif,
        xmp=xmp,
        colours=_colour_tags(colours),
        is_grey=header[_COLOUR_TYPE_OFFSET] in _GREYS,
        depth=header[_DEPTH_OFFSET],
        transparent=() if is_palette else struct.unpack_from(f">{len(transparent) // 2}H", transparent),
    )


def _chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to IEND, or up to the first bytes that are none. The last may be cut off."""
    whole, position, count = memoryview(content), len(SIGNATURE), 0
    while position + _HEADER.size <= len(content):
        byte_count, kind = _HEADER.unpack_from(content, position)
        if kind == b"IEND" or not kind.isalpha():
            return
        count += 1
        if count > MAX_PARTS:
            raise TooManyParts
        start = position + _HEADER.size
        position = start + byte_count + 4
        yield Chunk(kind, whole[start : start + byte_count], content[position - 4 : position])


def _is_needed(kind: bytes, header: memoryview) -> bool:
    colour_type = header[_COLOUR_TYPE_OFFSET]
    # A palette beside true colours only suggests how to show them on a screen of few colours.
    return (kind == b"PLTE" and colour_type == _PALETTE) or (
        kind == b"tRNS" and colour_type in _WITH_TRANSPARENCY
    )


def _checked(chunk: Chunk, *, is_first: bool) -> memoryview:
    is_header = chunk.kind == b"IHDR" and len(chunk.data) == _IHDR_BYTES
    if is_first != is_header or not chunk.is_intact:
        raise BrokenPart
    return chunk.data


def _colour_tags(chunks: dict[bytes, bytes]) -> ColourTags:
    """Return what the chunks say, of which one of a wrong length says nothing."""
    said = {kind: data for kind, data in chunks.items() if _COLOURS[kind] in (None, len(data))}
    numbers = {
        kind: tuple(value / 100_000 for value in struct.unpack(f">{len(said[kind]) // 4}I", said[kind]))
        for kind in (b"gAMA", b"cHRM")
        if kind in said
    }
    code_points = None
    # The third byte is 0 in every PNG, because its colours are written as RGB.
    if b"cICP" in said and not said[b"cICP"][2]:
        primaries, transfer, _, is_full_range = said[b"cICP"]
        code_points = CodePoints(primaries, transfer, is_full_range=is_full_range != 0)
    return ColourTags(
        code_points=code_points,
        icc_profile=_inflated(said.get(b"iCCP", b"").partition(b"\0")[2][1:], icc_profile.MAX_PROFILE_BYTES),
        is_srgb=b"sRGB" in said,
        gamma=numbers.get(b"gAMA", (None,))[0],
        chromaticities=numbers.get(b"cHRM"),
    )


def _exif(chunk: Chunk) -> bytes:
    if chunk.kind == b"eXIf":
        return bytes(chunk.data)
    lines = _text(chunk, _RAW_EXIF).split(b"\n")[3:]
    try:
        return bytes.fromhex(b"".join(lines).decode("ascii"))
    except ValueError:
        return b""


def _text(chunk: Chunk, keyword: bytes) -> bytes:
    """Return the text of a chunk with this keyword, or nothing for any other chunk."""
    if (
        chunk.kind not in (b"tEXt", b"zTXt", b"iTXt")
        or bytes(chunk.data[: len(keyword) + 1]) != keyword + b"\0"
    ):
        return b""
    rest = bytes(chunk.data[len(keyword) + 1 :])
    if chunk.kind == b"tEXt":
        return rest[:MAX_TEXT_BYTES]
    if chunk.kind == b"zTXt":
        return _inflated(rest[1:], MAX_TEXT_BYTES)
    # Two bytes say whether and how the text is compressed. Then come a language and a translated keyword.
    text = rest[2:].split(b"\0", 2)[-1]
    return _inflated(text, MAX_TEXT_BYTES) if rest[:1] == b"\x01" else text[:MAX_TEXT_BYTES]


def _inflated(data: bytes, max_bytes: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, max_bytes)
    except zlib.error:
        return b""


def _written(kind: bytes, data: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((_HEADER.pack(len(data), kind), data, checksum.to_bytes(4, "big")))
