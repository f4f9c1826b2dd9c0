"""The parts of an image file: those that its pixels need, and those that a decoder shall never see.

The module knows the structure of files, and no pixel. A camera's trailer, a second picture or megabytes of
metadata are skipped, so they are no reason to refuse a picture. A decoder's time grows with the parts and not with the
bytes, so the parts before the end of the picture are limited.
"""

from typing import Final, NamedTuple

from workers.imaging.colour_tags import ColourTags

# Encoders write parts of 4 KiB or more, so 10 MiB have about 2,600. Cameras add a few hundred parts of metadata.
MAX_PARTS: Final = 5000


class TooManyParts(Exception):
    """The file has more parts before the end of its picture than any camera or program writes."""


class BrokenPart(Exception):
    """A part that pixels need is missing or has a wrong checksum."""


class PictureFile(NamedTuple):
    """A file with only the parts that its pixels need, and the metadata that says how to turn and to colour it.

    Of a PNG, `depth` is the bits of a number, and `transparent` is the grey or the RGB that is transparent. Of a GIF,
    `frame` is left, top, width and height of its first frame.

    A JPEG without its end marker has two `endings`: it has all of its pixels if they are the same with either.
    """

    content: bytes
    exif: bytes = b""
    xmp: bytes = b""
    scan_count: int = 1
    endings: tuple[bytes, ...] = (b"",)
    colours: ColourTags = ColourTags()
    is_grey: bool = False
    depth: int = 8
    transparent: tuple[int, ...] = ()
    frame: tuple[int, ...] | None = None
