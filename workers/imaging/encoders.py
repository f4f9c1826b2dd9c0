"""The encoders of finished pictures: PNG, JPEG or WebP. Each file says that its colours are sRGB.

A file may also hold an XMP packet. Equal pixels, formats and packets give equal bytes.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from workers.imaging import png

# The names of both in a request, and in the parameters of its generation if they are not the defaults.
FORMAT_PARAMETER: Final = "output_format"
COMPRESSION_PARAMETER: Final = "output_compression"
MAX_COMPRESSION: Final = 100

# LittleCMS wrote this profile of IEC 61966-2-1. It is public domain, and its date is a constant.
SRGB_PROFILE: Final = (Path(__file__).parent / "srgb.icc").read_bytes()
# A JPEG of a higher quality has many more bytes, and no eye sees the difference.
MAX_JPEG_QUALITY: Final = 95
# From this quality on, colours keep the full resolution. Below it, they have half of it each way.
FULL_COLOUR_QUALITY: Final = 90
# libwebp's fastest method. The next one makes a lossless file a fifth smaller and takes three times as long.
_WEBP_METHOD: Final = 0
# PNG specification §11.3.2.5. The byte is the rendering intent, which is perceptual.
_SRGB_CHUNK: Final = png.chunk(b"sRGB", b"\0")


class OutputFormat(StrEnum):
    """The formats of finished pictures, by their names in a request."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def mime_type(self) -> str:
        """The media type of its files."""
        return f"image/{self}"


DEFAULT_FORMAT: Final = OutputFormat.PNG
MIME_TYPES: Final = tuple(each.mime_type for each in OutputFormat)


@dataclass(frozen=True)
class Encoding:
    """A format, and its compression from 0 for the smallest file to 100.

    A PNG has no compression in this sense, and a WebP is lossless at 100.
    """

    format: OutputFormat = DEFAULT_FORMAT
    compression: int = MAX_COMPRESSION

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Encoding":
        """Return the encoding that a generation's parameters name. Nothing in them stands for the defaults."""
        return cls(
            OutputFormat(parameters.get(FORMAT_PARAMETER) or DEFAULT_FORMAT),
            parameters.get(COMPRESSION_PARAMETER, MAX_COMPRESSION),
        )

    @property
    def parameters(self) -> dict[str, str | int]:
        """Its part of a generation's parameters, which keep only what is not the default."""
        kept: dict[str, str | int] = {}
        if self.format is not DEFAULT_FORMAT:
            kept[FORMAT_PARAMETER] = self.format.value
        if self.compression != MAX_COMPRESSION:
            kept[COMPRESSION_PARAMETER] = self.compression
        return kept

    @property
    def is_lossless(self) -> bool:
        """True if the file's pixels are those of the picture."""
        if self.format is OutputFormat.WEBP:
            return self.compression == MAX_COMPRESSION
        return self.format is OutputFormat.PNG


def encode(pixels: png.Pixels, encoding: Encoding, *, xmp: bytes = b"") -> bytes:
    """Return the file of (height, width, 3) bytes, with the XMP packet if there is one.

    The interpreter's lock is free most of the time, so other threads go on. Raise ValueError for other pixels.
    """
    if encoding.format is OutputFormat.PNG:
        return png.encode(pixels, metadata=_SRGB_CHUNK + (_xmp_chunk(xmp) if xmp else b""))
    file, picture = io.BytesIO(), Image.fromarray(png.check_pixels(pixels))
    common: dict[str, Any] = {"icc_profile": SRGB_PROFILE, **({"xmp": xmp} if xmp else {})}
    if encoding.format is OutputFormat.JPEG:
        picture.save(file, "JPEG", **_jpeg_options(encoding.compression), **common)
    else:
        picture.save(file, "WEBP", **_webp_options(encoding), **common)
    return file.getvalue()


def decode(content: bytes) -> png.Pixels:
    """Return the pixels of a file that `encode` made."""
    with Image.open(io.BytesIO(content), formats=[each.upper() for each in OutputFormat]) as picture:
        return np.asarray(picture.convert("RGB"))


def _jpeg_options(compression: int) -> dict[str, int]:
    quality = min(max(compression, 1), MAX_JPEG_QUALITY)
    # Pillow's names for subsampling: 0 is 4:4:4, and 2 is 4:2:0.
    return {"quality": quality, "subsampling": 0 if quality >= FULL_COLOUR_QUALITY else 2}


def _webp_options(encoding: Encoding) -> dict[str, int | bool]:
    if encoding.is_lossless:
        return {"lossless": True, "quality": 0, "method": _WEBP_METHOD}
    return {"quality": encoding.compression, "method": _WEBP_METHOD}


def _xmp_chunk(xmp: bytes) -> bytes:
    """Return the chunk of an XMP packet (ISO 16684-3 §5.2): international text, not compressed, of no language."""
    return png.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", xmp)
