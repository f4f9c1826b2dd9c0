"""The count of the parts that an image file claims to have, made before a decoder walks them.

The module knows the structure of PNG (RFC 2083, section 3) and JPEG (ITU T.81, annex B), and no pixel. A decoder's time
grows with the parts and not with the bytes. Ten megabytes of empty parts take seconds under the interpreter's lock.
Ten megabytes of JPEG scans take most of an hour, because each scan repaints all pixels.
"""

import struct

# Encoders write parts of 4 KiB or more, so 10 MiB have about 2,600. Cameras add a few hundred parts of metadata.
MAX_PARTS = 5000
# Progressive encoders write about ten scans. At 16 megapixels, a scan takes 10 ms.
MAX_SCANS = 100

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
_START_OF_SCAN = 0xDA


def has_too_many_parts(content: bytes) -> bool:
    """Return whether a decoder would walk the file for too long.

    A truncated or broken file is left for the decoder to refuse.
    """
    if content.startswith(_PNG_SIGNATURE):
        return _png_chunk_count(content) > MAX_PARTS
    if content.startswith(_JPEG_SIGNATURE):
        # A marker cannot occur by chance in pixels, whose 0xFF is written as 0xFF00.
        return (
            content.count(bytes([0xFF, _START_OF_SCAN])) > MAX_SCANS
            or _jpeg_segment_count(content) > MAX_PARTS
        )
    return False


def _png_chunk_count(content: bytes) -> int:
    count, position = 0, len(_PNG_SIGNATURE)
    while position + 8 <= len(content) and count <= MAX_PARTS:
        (byte_count,) = struct.unpack_from(">I", content, position)
        count, position = count + 1, position + 12 + byte_count
    return count


def _jpeg_segment_count(content: bytes) -> int:
    """Count the segments before the first scan. A fill byte before a marker counts as a segment, too."""
    count, position = 0, len(_JPEG_SIGNATURE)
    while position + 4 <= len(content) and count <= MAX_PARTS:
        first, marker, byte_count = struct.unpack_from(">BBH", content, position)
        if (first, marker) == (0xFF, _START_OF_SCAN):
            break
        is_segment = first == 0xFF and marker not in (0x00, 0xFF)
        count, position = count + 1, position + (2 + byte_count if is_segment else 1)
    return count
