"""The start page at /: HTML for browsers, JSON for programs."""

import orjson
from csp.decorators import csp
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from zekron_api.openapi.document import document
from zekron_api.openapi.reference import POLICY


@csrf_exempt
@csp(POLICY)
@require_safe
@vary_on_headers("Accept")
def serve(request: HttpRequest) -> HttpResponse:
    """Answer GET /, without a key. A client without a preference gets JSON."""
    info = document()["info"]
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        response = HttpResponse(render_to_string("zekron_api/home.html", {"info": info}))
    else:
        paths = {"docs": "/docs", "openapi": "/v1/openapi.json", "health": "/healthz"}
        links = {name: f"{settings.PUBLIC_URL}{path}" for name, path in paths.items()}
        content = orjson.dumps({"name": info["title"], "version": info["version"], "links": links})
        response = HttpResponse(content, content_type="application/json")
    response["Cache-Control"] = "public, max-age=300"
    return response
