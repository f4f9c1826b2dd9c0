"""An image backend that costs nothing, for a proxy: OpenAI's reply for one image, by URL or as base64.

The command is `uvicorn bench.baselines.image_backend:app`. The first part of the path chooses the reply.
"""

import base64
import json
import random
from typing import Any, Final

# 2 MB as base64.
IMAGE_BYTE_COUNT: Final = 1_500_000


def _reply(image: dict[str, str]) -> bytes:
    return json.dumps({"created": 1_775_563_200, "data": [image]}).encode()


REPLIES: Final = {
    "url": _reply({"url": f"https://images.example.com/{'a1b2' * 16}"}),
    "base64": _reply(
        {"b64_json": base64.b64encode(random.Random(1).randbytes(IMAGE_BYTE_COUNT)).decode()}  # noqa: S311
    ),
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read one request to its end, and answer it."""
    while (await receive()).get("more_body"):
        pass
    body = REPLIES.get(scope["path"].split("/")[1], b"{}")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
