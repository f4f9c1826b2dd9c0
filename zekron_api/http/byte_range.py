"""The part of a file that a request asks for by the header Range (RFC 9110, section 14)."""

import re
from typing import Final, NamedTuple

# A request for several parts is answered with the whole file, as the RFC allows. The digits are limited, because the
# time of int() grows with their square.
_ONE_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The header Range asks for bytes behind the end of the file."""

    def __init__(self, *, byte_count: int) -> None:
        super().__init__(f"The header Range asks for bytes behind the end. The file has {byte_count} bytes.")
        self.byte_count = byte_count


class ByteRange(NamedTuple):
    """The bytes from `first` to `last`, both included, of a file of `byte_count`."""

    first: int
    last: int
    byte_count: int

    @property
    def content_range(self) -> str:
        """Return the value of the header Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.byte_count}"


def parse(header: str, *, byte_count: int) -> ByteRange | None:
    """Return the one range of the header, or None for a header that asks for the whole file or is not understood.

    Raise RangeNotSatisfiable for a range that has no byte of the file.
    """
    found = _ONE_RANGE.fullmatch(header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, byte_count - int(last)), byte_count - 1
    else:
        start, end = int(first), min(int(last), byte_count - 1) if last else byte_count - 1
        if last and int(last) < start:
            return None
    if start >= byte_count:
        raise RangeNotSatisfiable(byte_count=byte_count)
    return ByteRange(start, end, byte_count)
