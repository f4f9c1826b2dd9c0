"""Pictures for `images`, which schemathesis cannot guess. Schemathesis itself loads this, without Django."""

import base64
import io
import re
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image


def picture(kind: str, mode: str, size: tuple[int, int]) -> str:
    """Return a picture as base64."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


PICTURES = [
    picture("PNG", "RGB", (64, 64)),
    picture("PNG", "RGBA", (65, 130)),
    picture("PNG", "P", (80, 64)),
    picture("PNG", "I;16", (64, 64)),
    picture("JPEG", "L", (64, 512)),
    picture("JPEG", "CMYK", (96, 64)),
    picture("WEBP", "RGB", (512, 64)),
]
schemathesis.openapi.format("byte", strategies.sampled_from(PICTURES))


def _is_beyond_bounds(width: int, height: int) -> bool:
    return max(width, height) > 3 * min(width, height) or width * height > 1536 * 1536


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case[Any], kwargs: object) -> None:
    """Keep the rules that no schema tells: `queue_ttl` needs `async`, and a size has bounds of ratio and of pixels."""
    body = case.body
    sides = isinstance(body, dict) and re.fullmatch(r"(\d{3,4})x(\d{3,4})", str(body.get("size")))
    if sides and _is_beyond_bounds(int(sides[1]), int(sides[2])):
        case.body = body = {**body, "size": "1536x512"}
    if isinstance(body, dict) and body.get("queue_ttl") is not None and body.get("async") in (None, False):
        case.body = {**body, "async": True}
