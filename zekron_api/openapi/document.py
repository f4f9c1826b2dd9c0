"""The OpenAPI document, whole: what drf-spectacular collected, with errors, headers, examples and names added."""

from functools import cache
from typing import Any, Final

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from zekron_api.openapi import error_responses, examples, schemas
from zekron_api.openapi.operations import ALIVE, IMAGE, KEYED, OPEN, OPERATIONS, READY, Operation

Document = dict[str, Any]

TITLE: Final = "Zekron Image Generation API"
VERSION: Final = "1.0.0"
DESCRIPTION: Final = (
    "Post a prompt, wait, and get a PNG, what it cost, and what is left of your prepaid balance.\n\n"
    "Every request but those about the service itself needs a key: `Authorization: Bearer YOUR_API_KEY`. Every error, "
    "on every path, is JSON in one envelope, whose `type` is for programs and does not change, and whose `code` names "
    "the one failure when you ask for support.\n\n"
    "An account may send 60 requests in any 60 seconds and have 5 generations open at once; replies say in "
    "`X-RateLimit-…` what is left. An image costs 0.0250 to 0.0290 USD, and is destroyed after 24 hours. Every `GET` "
    "also answers `HEAD`."
)
TAGS: Final = (
    {"name": "Images", "description": "Make, edit and fetch images."},
    {"name": "Account", "description": "What is left, and what was made."},
    {"name": "Service", "description": "For those who run it."},
)

LINK: Final = {
    "operationId": IMAGE.name,
    "parameters": {"token": "$response.body#/data/token"},
    "description": "Fetches the image that was made.",
}


@cache
def document() -> Document:
    """The document of this process, which never changes while it lives."""
    made: Document = SchemaGenerator().get_schema(request=None, public=True)
    return made


@csrf_exempt
@require_safe
def serve(request: HttpRequest) -> HttpResponse:
    """GET /v1/openapi.json, without a key."""
    response = HttpResponse(_content(), content_type="application/json")
    response["Cache-Control"] = "public, max-age=300"
    return response


def complete(result: Document, **_: Any) -> Document:
    """drf-spectacular's hook: adds what it cannot know."""
    for (method, path), operation in OPERATIONS.items():
        _add_replies(result["paths"][path][method.lower()], operation)
    # drf-spectacular says it of serializers alone.
    result["paths"]["/v1/generate"]["post"]["requestBody"]["required"] = True
    paths = result["paths"] | {"/healthz": {"get": _open(ALIVE)}, "/readyz": {"get": _ready()}}
    paths["/v1/generate"]["post"]["responses"]["200"]["links"] = {"image": LINK}
    _add_examples(paths)
    return {
        "openapi": result["openapi"],
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": settings.PUBLIC_URL}],
        "tags": list(TAGS),
        "paths": paths,
        "components": {
            **result["components"],
            "schemas": schemas.schemas(error_responses.all_types()),
            "headers": _headers(),
        },
    }


@cache
def _content() -> bytes:
    return orjson.dumps(document())


def _add_replies(made: Document, operation: Operation) -> None:
    made["responses"]["200"] |= _success_words(operation, has_rate=True)
    made["responses"] |= error_responses.responses((*KEYED, *operation.causes), has_rate=True)


def _open(operation: Operation) -> Document:
    content = {"application/json": {"schema": schemas.ref(operation.reply)}}
    success = {**_success_words(operation, has_rate=False), "content": content}
    return {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [],
        "responses": {"200": success, **error_responses.responses(OPEN, has_rate=False)},
    }


def _ready() -> Document:
    operation = _open(READY)
    operation["responses"]["503"] = {
        "description": "A part is away; the body says which.",
        "headers": schemas.header_refs(("X-Request-Id",), required=True),
        "content": {"application/json": {"schema": schemas.ref("NotReady")}},
    }
    return operation


def _success_words(operation: Operation, *, has_rate: bool) -> Document:
    always = error_responses.reply_headers(200, has_rate=has_rate)
    sometimes = schemas.header_refs(operation.reply_headers, required=False)
    return {"description": operation.reply_description, "headers": always | sometimes}


def _headers() -> Document:
    """Each header twice: where it surely comes, and where it may."""
    optional = schemas.headers()
    required = {name: header | {"required": True} for name, header in optional.items()}
    return required | {f"{name}{schemas.OPTIONAL}": header for name, header in optional.items()}


def _add_examples(paths: Document) -> None:
    public_url = settings.PUBLIC_URL
    parts = {"database": True, "redis": True, "store": True, "worker": True}
    _show(
        paths["/v1/generate"]["post"],
        "200",
        created=examples.created(public_url),
        edited=examples.edited(public_url),
    )
    _show(paths["/v1/balance"]["get"], "200", balance=examples.balance())
    _show(paths["/v1/generations"]["get"], "200", page=examples.history(public_url))
    _show(paths["/healthz"]["get"], "200", alive={"status": "ok"})
    there = {"models": {"zekron-image-1": 2}, "queues": {"gpu": 2}}
    _show(paths["/readyz"]["get"], "200", ready={"status": "ok", "parts": parts, "workers": there})
    away = {"status": "unavailable", "parts": parts | {"worker": False}}
    nobody = {"models": {"zekron-image-1": 0}, "queues": {"gpu": 0}}
    _show(paths["/readyz"]["get"], "503", unavailable=away | {"workers": nobody})


def _show(operation: Document, status: str, **examples: Document) -> None:
    content = operation["responses"][status]["content"]["application/json"]
    content["examples"] = {name: {"value": value} for name, value in examples.items()}
