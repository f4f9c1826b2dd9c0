"""The bounded reading of a request's body, which takes only the bytes that the view needs for its answer."""

import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestAborted

Scope = dict[str, Any]
Body = tempfile.SpooledTemporaryFile[bytes]


async def read_bounded(*, scope: Scope, receive: Any, has_key: Callable[[], Awaitable[bool]]) -> Body:
    """Read the body into a file, or only the part that the view needs to refuse it.

    Nothing is read of a body whose header announces a length over the limit. Any other body is read up to one byte
    past the limit. A body of more than a megabyte is read on only if `has_key` returns True, which is called at most
    once. Raises RequestAborted when the client leaves.
    """
    limit, unasked = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1, settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    body_file = tempfile.SpooledTemporaryFile(max_size=unasked, mode="w+b")  # noqa: SIM115
    try:
        more, asked = announced_byte_count(scope) < limit, False
        # The server discards the bytes after the limit, because they may never end.
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
        # The client left or was too slow.
        body_file.close()
        raise
    return body_file


def announced_byte_count(scope: Scope) -> int:
    """Return the length of the body in the headers, or 0 for a chunked body."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0
