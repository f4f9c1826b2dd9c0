"""The reference page at /docs: the OpenAPI document as HTML, without a script and without anything from elsewhere."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

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
# Base64 in an example says nothing to a reader beyond that it is base64.
SHOWN_CHARACTERS: Final = 96


class Field(NamedTuple):
    """A line of a table of fields; `name` is its path from the top."""

    name: str
    kind: str
    is_required: bool
    description: SafeString
    allowed: list[str]
    default: str


class Sample(NamedTuple):
    """An example, as text to read or to copy."""

    title: str
    text: str


class Problem(NamedTuple):
    """An error of an operation."""

    status: str
    error_type: str
    message: str


@csrf_exempt
@csp(POLICY)
@require_safe
def serve(request: HttpRequest) -> HttpResponse:
    """GET /docs, without a key."""
    response = HttpResponse(_page())
    response["Cache-Control"] = "public, max-age=300"
    return response


@cache
def _page() -> str:
    made = document()
    groups = [{**tag, "operations": list(_operations(made, tag["name"]))} for tag in made["tags"]]
    # Each header is there twice, once as surely sent; a reader needs it once.
    headers = [
        (name, prose(header["description"]))
        for name, header in made["components"]["headers"].items()
        if header.get("required")
    ]
    context = {
        "info": made["info"],
        "server": made["servers"][0]["url"],
        "introduction": prose(made["info"]["description"]),
        "groups": groups,
        "envelope": _fields(made["components"]["schemas"]["Error"]),
        "headers": headers,
    }
    return render_to_string("zekron_api/docs.html", context)


def prose(text: str) -> SafeString:
    """Paragraphs, with what stands in backticks as code. Everything else is escaped."""
    paragraphs = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(part)) for part in text.split("\n\n"))
    return mark_safe("".join(f"<p>{part}</p>" for part in paragraphs))  # noqa: S308 (escaped above)


def _operations(made: Document, tag: str) -> Iterator[dict[str, Any]]:
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if tag in operation["tags"]:
                yield _operation(made, path, method, operation)


def _operation(made: Document, path: str, method: str, operation: Document) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    success = operation["responses"]["200"]
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": prose(operation["description"]),
        "needs_key": bool(operation["security"]),
        "parameters": [_parameter(parameter) for parameter in operation.get("parameters", ())],
        "body": _fields(body["schema"]) if body else [],
        "requests": list(_requests(made["servers"][0]["url"], path, operation, body)),
        "success": prose(success["description"]),
        "reply": [field for content in success["content"].values() for field in _fields(content["schema"])],
        "media_type": next(iter(success["content"])),
        "replies": [sample for content in success["content"].values() for sample in _samples(content)],
        "problems": list(_problems(operation)),
    }


def _parameter(parameter: Document) -> Field:
    line = _field(parameter["name"], parameter["schema"], is_required=parameter.get("required", False))
    return line._replace(description=prose(parameter["description"]), kind=f"{line.kind}, {parameter['in']}")


def _fields(schema: Document, prefix: str = "") -> list[Field]:
    """The fields of an object, and of the objects within it."""
    whole = _resolved(schema)
    lines: list[Field] = []
    for name, found in whole.get("properties", {}).items():
        field = _resolved(found)
        lines.append(_field(prefix + name, field, is_required=name in whole.get("required", ())))
        lines += _fields(field, f"{prefix}{name}.")
        lines += _fields(field.get("items", {}), f"{prefix}{name}[].")
    return lines


def _field(name: str, schema: Document, *, is_required: bool) -> Field:
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    default = schema.get("default")
    return Field(
        name=name,
        kind=_kind(schema),
        is_required=is_required,
        description=prose(schema.get("description", "")),
        allowed=[json.dumps(value).strip('"') for value in allowed if value is not None],
        default="" if default is None else str(default),
    )


def _kind(schema: Document) -> str:
    named = schema.get("type", "any")
    kinds = [named] if isinstance(named, str) else named
    text = " or ".join(kinds)
    return f"{text} of objects" if "items" in schema else text


def _resolved(schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    named: Document = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return named


def _requests(server: str, path: str, operation: Document, body: Document | None) -> Iterator[Sample]:
    key = ' \\\n  -H "Authorization: Bearer YOUR_API_KEY"' if operation["security"] else ""
    url = server + path.replace("{token}", "TOKEN")
    if body is None:
        output = (
            " \\\n  --output image.png" if "image/png" in operation["responses"]["200"]["content"] else ""
        )
        yield Sample("", f"curl {url}{key}{output}")
        return
    for example in body["examples"].values():
        sent = f" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{_readable(example['value'])}'"
        yield Sample(example["summary"], f"curl {url}{key}{sent}")


def _samples(content: Document) -> Iterator[Sample]:
    for name, example in content.get("examples", {}).items():
        yield Sample(name.capitalize(), _readable(example["value"]))


def _problems(operation: Document) -> Iterator[Problem]:
    for status, response in operation["responses"].items():
        for example in response.get("content", {}).get("application/json", {}).get("examples", {}).values():
            if error := example["value"].get("error"):
                yield Problem(status, error["type"], error["message"])


def _readable(value: object) -> str:
    return json.dumps(_shortened(value), indent=2, ensure_ascii=False)


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS and " " not in value and "/v1/" not in value:
        return value[:24] + "…"
    return value
