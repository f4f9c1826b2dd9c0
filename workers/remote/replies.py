"""The replies of a remote server: its picture, or the error that its refusal means. They quote nothing of a reply."""

import io
import re
from typing import Any, Final

import numpy as np
import orjson
import pybase64
from PIL import Image

from workers.engine.interface import BadOutput, EngineError, ImageOrder, OrderRefused, Picture
from workers.imaging import source_images
from workers.moderation import ContentRefused

# The formats that a server may send in place of the PNG that it was asked for.
FORMATS: Final = ("PNG", "JPEG", "WEBP")
# A file of grain with 16 bits in four channels has eight bytes a pixel, and base64 adds a third. Servers add little.
BYTES_PER_PIXEL: Final = 12
BYTES_BESIDE: Final = 1024 * 1024
# A refusal has a sentence or two.
MAX_REFUSAL_BYTES: Final = 64 * 1024
# The codes by which servers say that they refuse the content: OpenAI's, its former one, and Azure's.
REFUSED_CONTENT: Final = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
CATEGORY: Final = "remote"
# The statuses of a request that the server will never accept. Others may be its state, its key or its address.
_REFUSED_ORDER: Final = frozenset({400, 413, 415, 422})
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def max_bytes(order: ImageOrder) -> int:
    """Return the length of the longest reply with the ordered picture."""
    return BYTES_BESIDE + BYTES_PER_PIXEL * order.width * order.height


def read_file(content: bytes) -> bytes:
    """Return the picture's file in the body of a reply. Raise BadOutput."""
    try:
        encoded = orjson.loads(content)["data"][0]["b64_json"]
        return pybase64.b64decode(encoded, validate=True)
    except (ValueError, LookupError, TypeError):
        raise BadOutput("the reply of the remote server has no data[0].b64_json") from None


def read_picture(file: bytes, order: ImageOrder) -> Picture:
    """Return the pixels of a file of the ordered size. Raise BadOutput.

    The size is read in the header, before any pixel is decoded.
    """
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as opened:
            size = opened.size
        if size != (order.width, order.height):
            raise BadOutput(f"the remote server made {size[0]}x{size[1]}, not {order.width}x{order.height}")
        return np.asarray(source_images.decode(file))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, source_images.InvalidImage):
        # Pillow's readers of headers raise these.
        raise BadOutput("the remote server sent no readable PNG, JPEG or WebP") from None


def error_of(status: int, content: bytes) -> Exception:
    """Return the error of a reply that is no picture. Its message has the status and the server's code alone."""
    codes = _codes_of(content)
    if status in _REFUSED_ORDER and REFUSED_CONTENT.intersection(codes):
        return ContentRefused(CATEGORY)
    told = f"the remote server replied {status}{''.join(f' {code}' for code in codes)}"
    return OrderRefused(told) if status in _REFUSED_ORDER else EngineError(told)


def _codes_of(content: bytes) -> list[str]:
    """Return the names that programs read in an error of OpenAI's API. A name with other characters may quote."""
    try:
        error: Any = orjson.loads(content)["error"]
        named = [error.get("code"), error.get("type")]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return list(dict.fromkeys(name for name in named if isinstance(name, str) and _CODE.fullmatch(name)))
