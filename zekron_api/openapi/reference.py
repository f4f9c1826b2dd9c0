"""The reference page at /docs, made from the OpenAPI document. It has no scripts and loads nothing from elsewhere."""

import json
import re
from functools import cache
from typing import Any, Final

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from zekron_api.openapi.document import Document, document

POLICY: Final = {
    "default-src": [NONE],
    "style-src": [SELF],
    "base-uri": [NONE],
    "form-action": [NONE],
    "frame-ancestors": [NONE],
}
# Base64 without a space, longer than an address. The page shortens it because nobody reads it.
_BASE64: Final = re.compile(r'"([A-Za-z0-9+/=]{24})[A-Za-z0-9+/=]{72,}"')


@csrf_exempt
@csp(POLICY)
@require_safe
def serve(request: HttpRequest) -> HttpResponse:
    """Answer GET /docs, without a key."""
    response = HttpResponse(_page())
    response["Cache-Control"] = "public, max-age=300"
    return response


def prose(text: str) -> SafeString:
    """Return a description as HTML: paragraphs, and code between backticks."""
    marked = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
    paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in marked.split("\n\n"))
    return mark_safe(paragraphs)  # noqa: S308 (the text is escaped; the tags are ours)


@cache
def _page() -> str:
    context = _readable(document(), document())
    for operation in (operation for item in context["paths"].values() for operation in item.values()):
        operation["replies"] = _replies(operation)
    return render_to_string("zekron_api/docs.html", context)


def _replies(operation: Document) -> list[Document]:
    """Return the successful replies, one for each status and media type. Equal fields are told once."""
    replies: list[Document] = []
    for status, response in operation["responses"].items():
        if status >= "300":
            continue
        for media_type, content in response.get("content", {"": {"schema": {}}}).items():
            schema = content["schema"]
            is_repeated = "properties" in schema and schema in [reply["schema"] for reply in replies]
            replies.append(
                {"status": status, "media_type": media_type, "is_repeated": is_repeated} | response | content
            )
    return replies


def _readable(value: Any, whole: Document) -> Any:
    """Return a part of the document as the template shows it: references resolved, texts as HTML, values as JSON."""
    if isinstance(value, list):
        return [_readable(item, whole) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        _, *names = value["$ref"].split("/")
        target = whole
        for name in names:
            target = target[name]
        return _readable(target, whole) | {"optional": value["$ref"].endswith(".optional")}
    if "oneOf" in value:
        # An object that may be null: drf-spectacular writes it as a choice between the object and null.
        described = {name: item for name, item in value.items() if name != "oneOf"}
        return _readable(value["oneOf"][0], whole) | {"type": "object or null"} | _readable(described, whole)
    return {name: _shown(name, item, whole) for name, item in value.items()}


def _shown(name: str, item: Any, whole: Document) -> Any:
    match name, item:
        case "description", str():
            return prose(item)
        case "type", list():
            return " or ".join(item)
        case "enum", list():
            return [_json(choice).strip('"') for choice in item if choice is not None]
        case ("const", _) | ("default", bool()):
            return _json(item).strip('"')
        case "value", dict():
            return {"json": _BASE64.sub(r'"\1…"', _json(item)), **item}
    return _readable(item, whole)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
