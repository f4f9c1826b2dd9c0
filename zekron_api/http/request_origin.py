"""The identity of an HTTP request, which the rows of its generations keep: its id, and the trace that it belongs to."""

import re
from typing import Final
from uuid import uuid4

from django.http import HttpRequest

from workers.lifecycle.submission import NO_ORIGIN, Origin

# A proxy's request id is kept if it is harmless in a log line. An API key, sent here by mistake, is not harmless.
_REQUEST_ID: Final = re.compile(r"(?!zk_)[A-Za-z0-9._-]{1,64}")
# W3C Trace Context, section 3.2: version 00, and no id of zeros alone.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KEY: Final = "zekron.origin"


def note(request: HttpRequest) -> Origin:
    """Read the origin from the headers of the request, and keep it with the request."""
    sent_id, sent_parent = request.headers.get("X-Request-Id", ""), request.headers.get("Traceparent", "")
    origin = Origin(
        request_id=sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid4().hex,
        traceparent=sent_parent if _TRACEPARENT.fullmatch(sent_parent) else "",
    )
    request.META[_KEY] = origin
    return origin


def origin_of(request: HttpRequest) -> Origin:
    """Return the origin that `note` kept, or none outside the middleware."""
    origin: Origin = request.META.get(_KEY, NO_ORIGIN)
    return origin
