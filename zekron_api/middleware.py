"""The middleware that every request and reply passes through. It knows no endpoint."""

import logging
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from workers import log_context
from zekron_api.http import errors, request_origin
from zekron_api.http import openai_errors as openai_format
from zekron_api.http.pending_check import PendingCheckResponse
from zekron_api.ops import health, prometheus
from zekron_api.waiting.deferred_response import SUPPORTS_DEFERRAL, DeferredResponse
from zekron_api.waiting.event_stream import EventStreamResponse
from zekron_api.waiting.observed_reply import route_of
from zekron_api.waiting.paged_response import PagedResponse

log = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]

# Load balancers and Prometheus ask each process by an address of the inner network, which no public name covers.
_OF_ANY_HOST: Final = {**health.PROBES, "/metrics": prometheus.serve}


def wait_in_place(get_response: GetResponse) -> GetResponse:
    """Resolve deferred responses in this thread, unless the server announced that it resolves them itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if isinstance(response, DeferredResponse) and not getattr(request, SUPPORTS_DEFERRAL, False):
            return response.wait_in_place()
        if isinstance(response, EventStreamResponse) and not getattr(request, SUPPORTS_DEFERRAL, False):
            return response.wait_in_place()
        if isinstance(response, PagedResponse) and not getattr(request, SUPPORTS_DEFERRAL, False):
            return response.wait_in_place()
        if isinstance(response, PendingCheckResponse) and not getattr(request, SUPPORTS_DEFERRAL, False):
            response.wait_in_place()
        return response

    return middleware


def request_id(get_response: GetResponse) -> GetResponse:
    """Set X-Request-Id on each reply, and log one line for each request, without query, body or token."""

    def middleware(request: HttpRequest) -> HttpResponse:
        origin = request_origin.note(request)
        started = time.perf_counter()
        with log_context.adding(request_id=origin.request_id):
            response = get_response(request)
            response["X-Request-Id"] = origin.request_id
            _log_request(request, response, milliseconds=(time.perf_counter() - started) * 1000)
        return response

    return middleware


def _log_request(request: HttpRequest, response: HttpResponse, *, milliseconds: float) -> None:
    method, route, status = request.method, route_of(request), response.status_code
    log.log(
        # Load balancers ask every few seconds.
        logging.DEBUG if request.path_info in health.PROBES else logging.INFO,
        "%s %s /%s %d %.1f ms",
        response["X-Request-Id"],
        method,
        route,
        status,
        milliseconds,
        extra={"method": method, "route": route, "status": status, "ms": round(milliseconds, 1)},
    )


def error_envelope(get_response: GetResponse) -> GetResponse:
    """Turn every error that is not JSON, such as Django's own pages, into the error envelope."""

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


def openai_errors(get_response: GetResponse) -> GetResponse:
    """Give errors of the paths of OpenAI's clients their form, also those of replies that are built later."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if isinstance(response, DeferredResponse) and openai_format.is_for(request.path_info):
            response.translate_error = openai_format.translate
        return openai_format.for_path(request.path_info, response)

    return middleware


def method_keeping_redirects(get_response: GetResponse) -> GetResponse:
    """Make each permanent redirect keep the method and the body of the request, such as Django's redirect to HTTPS.

    After a 301 most clients send a POST again as a GET without a body (RFC 9110, section 15.4.2).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code == 301 and request.method not in {"GET", "HEAD"}:
            response.status_code = 308
        return response

    return middleware


def health_probes(get_response: GetResponse) -> GetResponse:
    """Answer health checks and Prometheus before the middleware that refuses unknown hosts."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return _OF_ANY_HOST.get(request.path_info, get_response)(request)

    return middleware
