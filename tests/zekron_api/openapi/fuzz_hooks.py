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
schemathesis.openapi.format(
    "data-url", strategies.sampled_from([f"data:image/png;base64,{each}" for each in PICTURES])
)
schemathesis.openapi.format("binary", strategies.sampled_from([base64.b64decode(each) for each in PICTURES]))


def _is_beyond_bounds(size: object) -> bool:
    sides = re.fullmatch(r"(\d{3,4})x(\d{3,4})", str(size))
    if sides is None:
        return False
    width, height = int(sides[1]), int(sides[2])
    return max(width, height) > 3 * min(width, height) or width * height > 1536 * 1536


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case[Any], kwargs: object) -> None:
    """Keep the rules between fields, and those of the bundled model, which no schema tells."""
    if not isinstance(case.body, dict):
        return
    body: dict[str, Any] = dict(case.body)
    if _is_beyond_bounds(body.get("size")):
        body["size"] = "1536x512"
    if body.get("size") == "auto" and not isinstance(body.get("images"), list):
        # A number of images has no shape.
        body["size"] = "1024x1024"
    if not body.get("stream"):
        body.pop("partial_images", None)
    elif body.get("response_format") == "url":
        body.pop("response_format")
    if body.get("queue_ttl") is not None and body.get("async") in (None, False):
        body["async"] = True
    if body.get("output_format") in (None, "png"):
        body.pop("output_compression", None)
    if body.get("background") == "transparent":
        body["background"] = "opaque"
    for name in ("url", "webhook_url"):
        # The host must be a public address, and a look-up of random names would tell nothing.
        if str(body.get(name)).startswith("https://"):
            body[name] = "https://8.8.8.8/"
    # A mask has the size of the first image, and the model takes no negative prompt.
    for name in ("mask", "negative_prompt"):
        body.pop(name, None)
    case.body = body
