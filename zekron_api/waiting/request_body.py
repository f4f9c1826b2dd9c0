"""Reads a request's body as it arrives: no more of it than its view needs in order to judge it."""

import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestAborted

Scope = dict[str, Any]
Body = tempfile.SpooledTemporaryFile[bytes]


async def read_bounded(*, scope: Scope, receive: Any, has_key: Callable[[], Awaitable[bool]]) -> Body:
    """The body in a file, or as much of it as its view needs to refuse it in its turn: nothing of one that is announced
    to be over the limit, of any other a byte past it, and beyond a megabyte only where `has_key` says yes, which is
    asked once. Raises RequestAborted when the client leaves.
    """
    limit, unasked = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1, settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    body_file = tempfile.SpooledTemporaryFile(max_size=unasked, mode="w+b")  # noqa: SIM115
    try:
        more, asked = announced_byte_count(scope) < limit, False
        # What comes after the limit is the server's to throw away: it may never end.
        while more and body_file.tell() < limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            body_file.write(message.get("body", b"")[: limit - body_file.tell()])
            more = message.get("more_body", False)
            if more and not asked and body_file.tell() >= unasked:
                asked, more = True, await has_key()
        body_file.seek(0)
    except BaseException:
        # The client left, or took too long.
        body_file.close()
        raise
    return body_file


def announced_byte_count(scope: Scope) -> int:
    """What the headers say of the body; 0 for one that comes in chunks."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0
