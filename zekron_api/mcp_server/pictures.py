"""The image of a tool's result: a file that models and their clients can take, which limit the text of a result."""

import io
from typing import Final, NamedTuple

import numpy as np
import pybase64
from PIL import Image

from workers.imaging.encoders import Encoding, OutputFormat, encode

# Clients limit a result to about a megabyte of text, and base64 makes four characters of three bytes.
MAX_FILE_BYTES: Final = 750_000
# A photo of a megapixel has 440 kB at this quality of WebP, and one of the largest size 940 kB. The picture of most
# generations therefore is passed on as it is. PNGs and lossless files have megabytes.
COMPRESSION: Final = 90
# The qualities that are tried for a file that is too large, before its sides are halved. Even noise fits then.
_LOWER_QUALITIES: Final = (80, 50)


class Picture(NamedTuple):
    """An image as base64, and its media type."""

    b64_data: str
    mime_type: str


def fit(picture: Picture) -> Picture:
    """Return the picture, or a smaller WebP of it, with its mark, if its file is too large for a result."""
    if len(picture.b64_data) <= MAX_FILE_BYTES // 3 * 4:
        return picture
    content = pybase64.b64decode(picture.b64_data)
    with Image.open(io.BytesIO(content), formats=[each.upper() for each in OutputFormat]) as opened:
        image, xmp = opened.convert("RGB"), opened.info.get("xmp", b"")
    return Picture(pybase64.b64encode_as_string(_shrink(image, xmp=xmp)), OutputFormat.WEBP.mime_type)


def _shrink(image: Image.Image, *, xmp: bytes) -> bytes:
    while True:
        for quality in _LOWER_QUALITIES:
            file = encode(np.asarray(image), Encoding(OutputFormat.WEBP, quality), xmp=xmp)
            if len(file) <= MAX_FILE_BYTES:
                return file
        image = image.reduce(2)
