"""The sending of responses to clients that may read slowly or not at all."""

import asyncio
from typing import Any, Final

from django.http import HttpResponse, StreamingHttpResponse

# A response may take this long, plus its time at a megabit per second.
BASE_REPLY_SECONDS: Final = 20.0
MIN_REPLY_BYTES_PER_SECOND: Final = 125_000


def limit_seconds(byte_count: int) -> float:
    """Return the time in which a client must have read this many bytes."""
    return BASE_REPLY_SECONDS + byte_count / MIN_REPLY_BYTES_PER_SECOND


async def cut_off(send: Any) -> None:
    """Abort the connection without its unsent bytes.

    ASGI has no message for that, so this uses uvicorn's transport.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        # The server must learn of the abort before it learns that the response is incomplete.
        await asyncio.sleep(0)


def is_disconnected(send: Any) -> bool:
    """Return whether the connection broke before the server had taken the whole response.

    ASGI has no message for that either. Bytes in the buffers of the system may still be lost.
    """
    return bool(getattr(getattr(send, "__self__", None), "disconnected", False))


def start_without_length(response: HttpResponse) -> dict[str, Any]:
    """Return the message with status and headers of a response whose length is not known yet."""
    headers = [
        (name.encode("ascii"), value.encode("latin-1"))
        for name, value in response.items()
        if name.lower() != "content-length"
    ]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def with_length(response: HttpResponse) -> HttpResponse:
    """Set the length that Django's middleware sets only on replies from further inside.

    Without a length, a server would send the response in chunks. A 304 has no body whose length it could tell.
    """
    if response.status_code not in {204, 304}:
        response.headers.setdefault("Content-Length", str(len(response.content)))
    return response


def collected(response: StreamingHttpResponse) -> HttpResponse:
    """Collect a streamed response, such as a small file of the admin, so that a slow client blocks no thread."""
    whole = HttpResponse(response.getvalue(), status=response.status_code, headers=dict(response.items()))
    whole.cookies = response.cookies
    return whole
