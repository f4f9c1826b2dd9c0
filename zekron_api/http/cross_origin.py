"""The headers that let pages of other origins read replies that were made outside Django's middleware."""

from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest, HttpResponse


def add_headers(response: HttpResponse, *, scope: dict[str, Any]) -> HttpResponse:
    """Add the headers that the middleware adds to every other reply to a request with this scope of ASGI."""
    request = HttpRequest()
    request.method, request.path_info = scope["method"], scope["path"]
    origin = dict(scope["headers"]).get(b"origin")
    if origin is not None:
        request.META["HTTP_ORIGIN"] = origin.decode("latin-1")
    CorsMiddleware(lambda _: response).add_response_headers(request, response)
    return response
