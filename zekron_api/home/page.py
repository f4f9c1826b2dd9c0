"""The start page at /: HTML for browsers, JSON for programs."""

from typing import Any, Final

import orjson
from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from billing.money import format_usd
from workers.catalogue import DEFAULT_MODEL, catalogue
from zekron_api.home.showcase import PROMPTS
from zekron_api.openapi.document import document

# Its one script watches the picture of the showcase, which comes in parts as data.
POLICY: Final = {
    "default-src": [NONE],
    "style-src": [SELF],
    "script-src": [SELF],
    "connect-src": [SELF],
    "img-src": [SELF, "data:"],
    "base-uri": [NONE],
    "form-action": [NONE],
    "frame-ancestors": [NONE],
}


@csrf_exempt
@csp(POLICY)
@require_safe
@vary_on_headers("Accept")
def serve(request: HttpRequest) -> HttpResponse:
    """Answer GET /, without a key. A client without a preference gets JSON."""
    info = document()["info"]
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        response = HttpResponse(render_to_string("zekron_api/home.html", {"info": info, **_describe()}))
    else:
        paths = {"docs": "/docs", "openapi": "/v1/openapi.json", "health": "/healthz"}
        links = {name: f"{settings.PUBLIC_URL}{path}" for name, path in paths.items()}
        content = orjson.dumps({"name": info["title"], "version": info["version"], "links": links})
        response = HttpResponse(content, content_type="application/json")
    response["Cache-Control"] = "public, max-age=300"
    return response


def _describe() -> dict[str, Any]:
    """Return the facts of this installation that the page tells."""
    model = catalogue()[DEFAULT_MODEL]
    return {
        "price": format_usd(model.price.quote_micros(width=1024, height=1024, source_count=0)),
        "url": settings.PUBLIC_URL,
        "prompts": PROMPTS if settings.SHOWCASE_ACCOUNT else (),
        "is_open": settings.SIGNUP == "open",
    }
