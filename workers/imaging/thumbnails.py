"""Small WebP copies of finished pictures, for pages that show many."""

import io
from typing import Final

from PIL import Image

# The longest side in pixels. A card of the gallery is about as wide.
LONGEST_SIDE: Final = 320
MIME_TYPE: Final = "image/webp"
_QUALITY: Final = 80
# libwebp's method: a slower one saves a few hundred bytes.
_METHOD: Final = 2
# Pillow first takes the mean of each block, down to no less than this multiple of the size, and filters what is left.
# With a larger gap the filter would take as long as the decoder.
_REDUCING_GAP: Final = 1.0


def make(content: bytes) -> bytes:
    """Return a WebP of the finished picture in this file, with its longest side at most `LONGEST_SIDE` pixels.

    The file is one that this service made, so its size is bounded. Equal files give equal bytes.
    """
    with Image.open(io.BytesIO(content)) as picture:
        # The decoder of JPEG reads only as many details as this size needs.
        picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), reducing_gap=_REDUCING_GAP)
    written = io.BytesIO()
    small.save(written, "WEBP", quality=_QUALITY, method=_METHOD)
    return written.getvalue()
