"""HEIC and AVIF, which a process of their own decodes.

Both are containers of video frames. Their decoders are large, and find the size of a frame anew in its own bytes, so
the process has limits of memory and time, and the end of the process costs one picture. It gets no environment.
"""

import contextlib
import json
import re
import struct
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from PIL import Image

from workers.imaging.colour_tags import CodePoints, ColourTags

# The brands of still pictures and of sequences (ISO/IEC 23008-12, annex B, and AV1 Image File Format, section 9).
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIF: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
MAX_BRANDS_BYTES: Final = 1024
# A photo of 60 megapixels takes 5 seconds on one core.
MAX_SECONDS: Final = 40
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_PROGRAM: Final = str(Path(__file__).with_name("container_reader.py").resolve())
# The code points of a picture's colours. The range after them is that of the frame, which the decoder undoes.
_COLOURS: Final = re.compile(rb"colrnclx(....)", re.DOTALL)


class Unreadable(Exception):
    """The file cannot be read within the limits of memory and time."""


class Header(NamedTuple):
    """The size of a picture in pixels as its file stores it, its orientation and its colours."""

    width: int
    height: int
    orientation: int
    colours: ColourTags


class Reader:
    """A process that has read the header of one file, and reads its pixels once."""

    def __init__(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        """Read the header. Raise Unreadable."""
        self._process = process
        with self._limited() as (to_process, from_process):
            to_process.write(b"%d\n" % len(content))
            to_process.write(content)
            to_process.flush()
            said = json.loads(from_process.readline(MAX_LINE_BYTES))
        width, height = said["size"]
        icc_profile = b64decode(said["icc_profile"])
        self.header = Header(width, height, said["orientation"], _colour_tags(content, icc_profile))

    def decode(self, *, factor: int, byte_count: int) -> Image.Image:
        """Return the pixels, reduced by the factor, in the mode L, LA, RGB or RGBA. Raise Unreadable."""
        with self._limited() as (to_process, from_process):
            to_process.write(b"%d %d\n" % (factor, byte_count))
            to_process.flush()
            said = json.loads(from_process.readline(MAX_LINE_BYTES))
            size, mode = tuple(said["size"]), said["mode"]
            if size != (-(-self.header.width // factor), -(-self.header.height // factor)):
                raise Unreadable
            pixels = from_process.read(size[0] * size[1] * len(mode))
            return Image.frombytes(mode, size, pixels)

    @contextlib.contextmanager
    def _limited(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(MAX_SECONDS, self._process.kill)
        timer.start()
        try:
            yield self._process.stdin, self._process.stdout
        except (OSError, ValueError, LookupError, TypeError) as error:
            # The process ended, so the pipe is broken or what it wrote is cut off.
            raise Unreadable from error
        finally:
            timer.cancel()


def format_of(content: bytes) -> str:
    """Return AVIF or HEIF, or nothing for a file of another format (ISO/IEC 14496-12, section 4.3)."""
    if content[4:8] != b"ftyp":
        return ""
    # The first brand is the main one. The number behind it is a version.
    end = min(int.from_bytes(content[:4], "big"), MAX_BRANDS_BYTES, len(content))
    brands = {content[8:12], *(content[start : start + 4] for start in range(16, end, 4))}
    return "AVIF" if brands & _AVIF else "HEIF" if brands & _HEIF else ""


@contextlib.contextmanager
def open_reader(content: bytes) -> Iterator[Reader]:
    """Start a process that reads the file, and end it behind the block. Raise Unreadable."""
    command = [sys.executable, "-I", "-B", _PROGRAM, format_of(content)]
    options: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    process = subprocess.Popen(command, env={}, **options)
    try:
        yield Reader(process, content)
    finally:
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()


def _colour_tags(content: bytes, icc_profile: bytes) -> ColourTags:
    found = None if icc_profile else _COLOURS.search(content)
    points = CodePoints(*struct.unpack(">HH", found[1])) if found else None
    return ColourTags(code_points=points, icc_profile=icc_profile)
