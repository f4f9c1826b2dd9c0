"""A program of its own that decodes one HEIF or AVIF from its standard input. It imports nothing of the service.

It writes a line of JSON with the header, and waits for a line with the whole factor by which the picture is reduced and
the bytes of memory that it may take. Then it writes a line of JSON with the decoded size and mode, and the pixels. A
file that cannot be read ends the program with status 1.
"""

import contextlib
import importlib
import io
import json
import resource
import sys
from base64 import b64encode
from pathlib import Path
from typing import Final

from PIL import AvifImagePlugin, Image

MEGABYTE: Final = 1024 * 1024
# The memory for the header, and the processor's time for all.
HEADER_BYTES: Final = 256 * MEGABYTE
CPU_SECONDS: Final = 20
_MODES: Final = ("L", "LA", "RGB", "RGBA")


def main() -> None:
    """Decode the file whose byte count and bytes come in. The argument is its format."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    source = sys.stdin.buffer
    content = source.read(int(source.readline()))
    image = _open(content, sys.argv[1])
    exif = image.getexif() if image.format == "AVIF" else {}
    header = {
        "size": image.size,
        # A HEIC comes upright.
        "orientation": exif.get(0x0112, 1),
        "icc_profile": b64encode(image.info.get("icc_profile") or b"").decode(),
    }
    _write(header)
    factor, byte_count = map(int, source.readline().split())
    _limit_memory(byte_count)
    image.load()
    mode = image.mode if image.mode in _MODES else "RGBA" if image.has_transparency_data else "RGB"
    decoded = image if image.mode == mode else image.convert(mode)
    decoded = decoded.reduce(factor) if factor > 1 else decoded
    _write({"size": decoded.size, "mode": mode})
    for top in range(0, decoded.height, 64):
        strip = decoded.crop((0, top, decoded.width, min(top + 64, decoded.height)))
        sys.stdout.buffer.write(strip.tobytes())
    sys.stdout.buffer.flush()


def _open(content: bytes, file_format: str) -> Image.Image:
    # The parent checks the size. Two threads of a decoder are enough for one picture.
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 2
    if file_format == "HEIF":
        # It has no thumbnails, depth or other pictures to open. Its libraries take a moment to load.
        heif = importlib.import_module("pillow_heif")
        heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=2)
    _limit_memory(HEADER_BYTES)
    return Image.open(io.BytesIO(content), formats=[file_format])


def _limit_memory(byte_count: int) -> None:
    """Allow so many bytes beside those that the process has. Only Linux says how many it has."""
    with contextlib.suppress(OSError, ValueError):
        page_count = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _limit(resource.RLIMIT_AS, page_count * resource.getpagesize() + byte_count)


def _limit(resource_kind: int, value: int) -> None:
    """Set a limit. One that the machine has set below it stays."""
    _, most = resource.getrlimit(resource_kind)
    soft = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(resource_kind, (soft, most))


def _write(values: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(values).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    # An exception ends the program. The parent only needs to know that there was one.
    main()
