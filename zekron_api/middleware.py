"""What every request and reply passes through, outside the views."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from zekron_api.http import errors
from zekron_api.waiting.deferred_response import SUPPORTS_DEFERRAL, DeferredResponse

log = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

# A request id that a proxy sent is kept, if it is harmless in a log line: a key that was put there by mistake is not.
_REQUEST_ID: Final = re.compile(r"(?!zk_)[A-Za-z0-9._-]{1,64}")


def wait_in_place(get_response: GetResponse) -> GetResponse:
    """Waits here for a reply that is not there yet, unless the server said that it waits by itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if isinstance(response, DeferredResponse) and not getattr(request, SUPPORTS_DEFERRAL, False):
            return response.wait_in_place()
        return response

    return middleware


def request_id(get_response: GetResponse) -> GetResponse:
    """Gives each reply an X-Request-Id, and logs one line a request: without query, body or token."""

    def middleware(request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-Id", "")
        identifier = sent if _REQUEST_ID.fullmatch(sent) else uuid4().hex
        started = time.perf_counter()
        response = get_response(request)
        response["X-Request-Id"] = identifier
        route = request.resolver_match.route if request.resolver_match else "-"
        milliseconds = (time.perf_counter() - started) * 1000
        log.info(
            "%s %s /%s %d %.1f ms", identifier, request.method, route, response.status_code, milliseconds
        )
        return response

    return middleware


def error_envelope(get_response: GetResponse) -> GetResponse:
    """Turns every error that is not JSON yet, such as Django's own pages, into the envelope."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if response.status_code < 400 or is_json:
            return response
        reply = errors.reply_with_status(response.status_code)
        for name, value in response.items():
            if name.lower() not in {"content-type", "content-length"}:
                reply[name] = value
        return reply

    return middleware
