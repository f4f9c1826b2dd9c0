"""The blocks of a GIF (CompuServe, GIF89a, sections 15 to 27) that its first frame needs."""

import struct
from typing import Final

from workers.imaging.file_structure import MAX_PARTS, BrokenPart, PictureFile, TooManyParts

SIGNATURES: Final = (b"GIF87a", b"GIF89a")
# A block of metadata consists of pieces of up to 255 bytes, so a megabyte has 4,000.
MAX_PIECES: Final = 20 * MAX_PARTS
_SCREEN_BYTES: Final = 13
_IMAGE: Final = 0x2C
_EXTENSION: Final = 0x21
_GRAPHIC_CONTROL: Final = 0xF9
# The flag and the size of a palette in the byte that has them.
_HAS_PALETTE, _PALETTE_BITS = 0x80, 0x07


def read(content: bytes) -> PictureFile:
    """Return a GIF whose first frame follows its header, without metadata. Later frames are left for nobody to read.

    Raise TooManyParts, and BrokenPart without a frame.
    """
    try:
        position = _SCREEN_BYTES + _palette_bytes(content[10])
        header, control, count = content[:position], b"", 0
        while content[position] == _EXTENSION:
            start, position = position, position + 2
            while piece_bytes := content[position]:
                position, count = position + 1 + piece_bytes, count + 1
                if count > MAX_PIECES:
                    raise TooManyParts
            # The empty piece that ends a block counts, too.
            position, count = position + 1, count + 1
            if count > MAX_PIECES:
                raise TooManyParts
            if content[start + 1] == _GRAPHIC_CONTROL:
                control = content[start:position]
        if content[position] != _IMAGE:
            raise BrokenPart
        box = struct.unpack_from("<4H", content, position + 1)
    except (IndexError, struct.error):
        raise BrokenPart from None
    return PictureFile(header + control + content[position:], frame=box)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & _PALETTE_BITS) + 1 if flags & _HAS_PALETTE else 0
