"""Pictures for `images`, which schemathesis cannot guess. Schemathesis itself loads this, without Django."""

import base64
import io
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


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case[Any], kwargs: object) -> None:
    """Send `queue_ttl` with `async` alone, a rule between a field, another field and a header that no schema tells."""
    body = case.body
    if isinstance(body, dict) and body.get("queue_ttl") is not None and body.get("async") in (None, False):
        case.body = {**body, "async": True}
