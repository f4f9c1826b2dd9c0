"""The OpenAPI document: drf-spectacular's, completed with `document.yaml`, the errors and the headers."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from zekron_api.http import openai_errors
from zekron_api.openapi import error_responses
from zekron_api.openapi.operations import causes_of

Document = dict[str, Any]

_WRITTEN: Final = Path(__file__).with_suffix(".yaml")
_RATE: Final = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)
# Some errors of these statuses are sent before the rate is counted, and every 401 is.
_MAYBE_UNCOUNTED: Final = {400, 403, 404, 405, 500}
_ERROR_HEADERS: Final = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("x-should-retry",),
    416: ("Content-Range",),
    429: ("Retry-After", "x-should-retry"),
    503: ("Retry-After", "x-should-retry"),
    504: ("x-should-retry",),
}


@cache
def document() -> Document:
    """Return the document, which never changes while the process lives."""
    made: Document = SchemaGenerator().get_schema(request=None, public=True)
    return made


@csrf_exempt
@require_safe
def serve(request: HttpRequest) -> HttpResponse:
    """Answer GET /v1/openapi.json, without a key."""
    response = HttpResponse(_content(), content_type="application/json")
    response["Cache-Control"] = "public, max-age=300"
    return response


def complete(result: Document, **_: Any) -> Document:
    """Complete drf-spectacular's document, as its hook."""
    written = yaml.safe_load(_WRITTEN.read_text().replace("PUBLIC_URL", settings.PUBLIC_URL))
    texts = written.pop("operations")
    error_types: set[str] = set()
    for path, item in result["paths"].items():
        envelope = error_responses.OPENAI if openai_errors.is_for(path) else error_responses.NATIVE
        for operation in item.values():
            found = _complete_operation(operation, texts[operation["operationId"]], envelope)
            error_types |= found if envelope is error_responses.NATIVE else set()
    for name, schema in result["components"]["schemas"].items():
        # Unknown fields of a request are ignored; a reply has none.
        if not name.endswith("Request"):
            schema["additionalProperties"] = False
    _merge(result, written)
    components = result["components"]
    components["schemas"]["Error"]["properties"]["error"]["properties"]["type"]["enum"] = sorted(error_types)
    # A reference to a header cannot say whether the header may be absent, so each header has two names.
    components["headers"] |= {f"{name}.optional": header for name, header in components["headers"].items()}
    for name in [name for name in components["headers"] if not name.endswith(".optional")]:
        components["headers"][name] = components["headers"][name] | {"required": True}
    return result


@cache
def _content() -> bytes:
    return orjson.dumps(document())


def _complete_operation(operation: Document, texts: Document, envelope: error_responses.Envelope) -> set[str]:
    """Add texts, errors and headers. Return the types of the errors."""
    operation["security"] = texts.get("security", [{"apiKey": []}])
    needs_key = bool(operation["security"])
    for status, response in operation["responses"].items():
        response["headers"] = _headers(int(status), has_rate=needs_key)
    causes = causes_of(operation["operationId"], needs_key=needs_key)
    refusals = error_responses.responses(causes, envelope=envelope)
    for status, response in refusals.items():
        headers = _headers(status, has_rate=needs_key, special=_ERROR_HEADERS.get(status, ()))
        operation["responses"][str(status)] = response | {"headers": headers}
    error_types = {
        name for response in refusals.values() for name in error_responses.types(response, envelope=envelope)
    }
    parameters = _parameters(operation, texts)
    _merge(operation, texts)
    if parameters:
        operation["parameters"] = parameters
    return error_types


def _parameters(operation: Document, texts: Document) -> list[Document]:
    """Return the parameters of the texts, and those of the query's serializer."""
    written: list[Document] = texts.get("parameters", [])
    names = {parameter["name"] for parameter in written}
    return [
        *written,
        *(generated for generated in operation.get("parameters", []) if generated["name"] not in names),
    ]


def _headers(status: int, *, has_rate: bool, special: tuple[str, ...] = ()) -> Document:
    names = ["X-Request-Id", *special]
    if has_rate and status != 401:
        names += [f"{name}.optional" if status in _MAYBE_UNCOUNTED else name for name in _RATE]
    return {name.removesuffix(".optional"): {"$ref": f"#/components/headers/{name}"} for name in names}


def _merge(target: Document, source: Document) -> None:
    """Add `source` to `target`: objects are merged, and any other value replaces the one that is there."""
    for name, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value
