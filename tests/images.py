"""Small images, as pictures and as files, for the tests of several packages."""

import base64
import io
import struct
import zlib
from typing import Any

import pillow_heif
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(kind: str = "PNG", size: tuple[int, int] = (96, 64), **options: Any) -> str:
    """Return a small image of this kind as base64."""
    out = io.BytesIO()
    Image.new("RGB", size, "orange").save(out, kind, **options)
    return base64.b64encode(out.getvalue()).decode()


def saved(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    """Return a HEIC of nearly the image's colours."""
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, chroma=444, **options)
    return file.getvalue()


def halves(width: int = 96, height: int = 64) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def near(pixel: object, wanted: object, tolerance: int = 8) -> bool:
    assert isinstance(pixel, tuple)
    assert isinstance(wanted, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, wanted, strict=True))


def png_of(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """Write a PNG whose header may say anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def chunk(name: bytes, content: bytes) -> bytes:
    """Write a chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(png: bytes, name: bytes, content: bytes, *, is_intact: bool = True) -> bytes:
    """Put a chunk behind the header of a PNG, with a wrong checksum if it shall not be intact."""
    added = chunk(name, content)
    return png[:33] + (added if is_intact else added[:-1] + bytes([added[-1] ^ 1])) + png[33:]
