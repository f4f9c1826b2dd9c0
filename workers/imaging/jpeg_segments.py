"""The segments of a JPEG (ITU T.81, annex B) that its pixels need."""

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from workers.imaging.colour_tags import ColourTags
from workers.imaging.file_structure import MAX_PARTS, PictureFile, TooManyParts

START_OF_IMAGE: Final = b"\xff\xd8"
_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
# Markers without a segment behind them: TEM, and the start of another image.
_ALONE: Final = frozenset({0x01, 0xD8})
# Frames, Huffman and arithmetic tables, quantisation tables, the restart interval.
_TABLES: Final = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDD})
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENT_COUNT: Final = 64
# These segments of programs say how colours are stored.
_COLOURS: Final = ((0xE0, b"JFIF\0"), (0xEE, b"Adobe"))
_METADATA: Final = 0xE1
_PROFILE: Final = 0xE2
# A profile is written in numbered parts (ICC.1:2010, annex B.4). The number and the count of all are a byte each.
_ICC: Final = b"ICC_PROFILE\0"
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
# 0xFF is written as 0xFF00 in pixels. Between them stand restart markers, 0xFFD0 to 0xFFD7.
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Bytes with opposite bits stand for the pixels that may be missing, and differ in every code that a decoder reads.
_ENDINGS: Final = (b"\xaa" * 64 + b"\xff\xd9", b"\x55" * 64 + b"\xff\xd9")


class Segment(NamedTuple):
    """A segment with its marker. A scan includes its pixels."""

    marker: int
    content: bytes


def read(content: bytes) -> PictureFile:
    """Return the first picture of a JPEG, without metadata, further pictures and trailer. Raise TooManyParts.

    A broken file is left for the decoder to refuse.
    """
    needed: list[Segment] = []
    profile_parts: dict[int, bytes] = {}
    exif, xmp, is_ended = b"", b"", False
    for segment in _segments(content):
        if segment.marker == _END_OF_IMAGE:
            is_ended = True
        elif segment.marker == _METADATA:
            exif = exif or _behind(_EXIF, segment)
            xmp = xmp or _behind(_XMP, segment)
        elif segment.marker == _PROFILE:
            part = _behind(_ICC, segment)
            if len(part) > 2 and part[0] <= part[1]:
                profile_parts.setdefault(part[0], part[2:])
        elif segment.marker in (_START_OF_SCAN, *_TABLES) or _is_of_colours(segment):
            needed.append(segment)
    return PictureFile(
        START_OF_IMAGE + b"".join(segment.content for segment in needed),
        exif=exif,
        xmp=xmp,
        scan_count=sum(segment.marker == _START_OF_SCAN for segment in needed),
        endings=_endings(needed, is_ended=is_ended),
        colours=ColourTags(icc_profile=b"".join(part for _, part in sorted(profile_parts.items()))),
    )


def _endings(segments: list[Segment], *, is_ended: bool) -> tuple[bytes, ...]:
    if is_ended:
        return (_ENDINGS[0][-2:],)
    # Without an end, the decoder refuses the file.
    return _ENDINGS if _has_all_scans(segments) else (b"",)


def _has_all_scans(segments: list[Segment]) -> bool:
    """Return whether the scans cover every coefficient of every component to its last bit, if each scan is whole."""
    left: set[tuple[int, int]] = set()
    is_progressive = False
    try:
        for marker, content in segments:
            if marker in _FRAMES:
                is_progressive = marker in _PROGRESSIVE
                components = content[10 : 10 + 3 * content[9] : 3]
                left = {(component, i) for component in components for i in range(_COEFFICIENT_COUNT)}
            elif marker == _START_OF_SCAN:
                behind = 5 + 2 * content[4]
                first, last, bits = content[behind : behind + 3]
                covered = range(first, last + 1) if is_progressive else range(_COEFFICIENT_COUNT)
                if not bits & 0x0F:
                    left -= {(component, i) for component in content[5:behind:2] for i in covered}
    except (IndexError, ValueError):
        return False
    return not left


def _segments(content: bytes) -> Iterator[Segment]:
    """Yield the segments up to the end of the image, or up to one that is cut off."""
    position, count = len(START_OF_IMAGE), 0
    while found := _MARKER.search(content, position):
        count += 1
        if count > MAX_PARTS:
            raise TooManyParts
        start, position, marker = found.start(), found.end(), found[0][1]
        if marker == _END_OF_IMAGE:
            yield Segment(marker, found[0])
            return
        if marker in _ALONE:
            continue
        position += max(2, *struct.unpack(">H", content[position : position + 2].rjust(2, b"\xff")))
        if position > len(content):
            return
        if marker != _START_OF_SCAN:
            yield Segment(marker, content[start:position])
            continue
        following = _MARKER.search(content, position)
        position = following.start() if following else len(content)
        # A byte 0xFF at the end of a scan is the first half of a marker.
        yield Segment(marker, content[start:position].rstrip(b"\xff"))


def _is_of_colours(segment: Segment) -> bool:
    return any(segment.marker == marker and _behind(name, segment) for marker, name in _COLOURS)


def _behind(name: bytes, segment: Segment) -> bytes:
    """Return what follows the name in a segment with this name, or nothing for any other segment."""
    return segment.content[4 + len(name) :] if segment.content[4:].startswith(name) else b""
