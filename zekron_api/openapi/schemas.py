"""The JSON schemas of bodies, and the headers: what `replies.py`, `errors.py` and `throttle.py` write and read."""

from typing import Any, Final

from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.models import Kind, Status
from zekron_api.endpoints import fields

Shape = dict[str, Any]

USD: Final[Shape] = {
    "type": "string",
    "pattern": r"^\d+\.\d{4}$",
    "description": "US dollars with four decimal places.",
}
TIME: Final[Shape] = {"type": "string", "format": "date-time", "description": "UTC, with its offset."}
TOKEN_PATTERN: Final = "^[0-9a-f]{64}$"  # noqa: S105 (what tokens look like)
TOKEN: Final[Shape] = {
    "type": "string",
    "pattern": TOKEN_PATTERN,
    "description": "The name of the image in `GET /v1/images/{token}`.",
}
IDENTIFIER: Final[Shape] = {"type": "integer", "minimum": 1}
COUNT: Final[Shape] = {"type": "integer", "minimum": 0}
# Something that Python does not count as white space; dialects of patterns differ on these five.
PROMPT_PATTERN: Final = r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"
CODE_PATTERN: Final = r"^[A-Z0-9_]+_[0-9A-F]{6}_\d{10}$"


def ref(name: str) -> Shape:
    """A reference to one of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas(error_types: list[str]) -> dict[str, Shape]:
    """Every named schema; `error_types` is what an error's `type` may be."""
    return {
        "GenerateRequest": _generate_request(),
        "SourceImage": SOURCE_IMAGE,
        "GenerateReply": _success(_generation(), created_at=TIME | {"description": "When it was accepted."}),
        "BalanceReply": _success(BALANCE),
        "HistoryReply": _success(_whole(generations=_list(ref("HistoryRow")), pagination=PAGINATION)),
        "HistoryRow": _history_row(),
        "Error": _error(error_types),
        "Alive": _whole(status={"type": "string", "const": "ok"}),
        "Ready": _readiness("ok"),
        "NotReady": _readiness("unavailable"),
    }


def headers() -> dict[str, Shape]:
    """The named headers of replies, by the names under which `header_refs` finds them."""
    whole = {"type": "string", "pattern": r"^\d+$"}
    return {
        "X-Request-Id": _header(
            "Names this request in our log. One that you send is kept if it is 1 to 64 letters, digits, `.`, `_`, `-`.",
            {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        ),
        "X-RateLimit-Limit": _header("How many requests the account may send in any 60 seconds.", whole),
        "X-RateLimit-Remaining": _header("How many of them are left now.", whole),
        "X-RateLimit-Reset": _header("The Unix second from which the oldest of them counts no more.", whole),
        "Retry-After": _header("After how many seconds another try has a chance.", whole),
        "WWW-Authenticate": _header("How to authenticate.", {"type": "string", "pattern": "^Bearer "}),
        "Allow": _header("The methods that the path knows.", {"type": "string"}),
        "Idempotent-Replayed": _header(
            "`true` if the reply belongs to an earlier request with the same `Idempotency-Key`; absent otherwise.",
            {"type": "string", "const": "true"},
        ),
    }


def header_refs(names: tuple[str, ...], *, required: bool) -> dict[str, Shape]:
    """Headers of a reply. OpenAPI lets a reference say nothing else, so those that may be absent are named apart."""
    suffix = "" if required else OPTIONAL
    return {name: {"$ref": f"#/components/headers/{name}{suffix}"} for name in names}


OPTIONAL: Final = ".optional"

SOURCE_IMAGE: Final[Shape] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "string",
            "format": "byte",
            "minLength": 1,
            "description": "A PNG, JPEG or WebP of at most 10 MiB and 16 megapixels, each side at least 64 pixels and "
            "none more than eight times the other, as base64. A `data:` prefix and line breaks are allowed.",
        },
        # Without a type, because nothing that is sent here is looked at.
        "mime_type": {
            "description": "Accepted and ignored: the type is read from the bytes.",
            "examples": ["image/png", "image/jpeg", "image/webp"],
        },
    },
}

BALANCE: Final[Shape] = {
    "type": "object",
    "required": ["balance", "total_spent", "total_generations", "currency", "reserved", "available"],
    "properties": {
        "balance": USD | {"description": "What is left of what was paid in, less what was spent."},
        "total_spent": USD | {"description": "What completed generations have cost."},
        "total_generations": COUNT | {"description": "How many generations were completed."},
        "currency": {"type": "string", "const": "USD"},
        "reserved": USD | {"description": "What open generations hold of the balance."},
        "available": USD | {"description": "`balance` less `reserved`: what a new generation may cost."},
    },
    "additionalProperties": False,
}

PAGINATION: Final[Shape] = {
    "type": "object",
    "required": ["total", "limit", "offset", "has_more"],
    "properties": {
        "total": COUNT | {"description": "How many generations the account has."},
        "limit": COUNT | {"minimum": 1, "maximum": 100, "description": "The limit that was applied."},
        "offset": COUNT | {"description": "How many newer ones were left out."},
        "has_more": {"type": "boolean", "description": "Whether older ones follow this page."},
    },
    "additionalProperties": False,
}


def _generate_request() -> Shape:
    return {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {
                "type": "string",
                "minLength": 1,
                "maxLength": fields.MAX_PROMPT_CHARACTERS,
                "pattern": PROMPT_PATTERN,
                "description": "What to paint, or what to change in the images. Not blank, and without NUL.",
            },
            "model": {
                "type": ["string", "null"],
                "enum": [*catalogue(), None],
                "default": DEFAULT_MODEL,
                "description": "The model that paints.",
            },
            "size": {
                "type": ["string", "null"],
                "enum": [*fields.SIZES, None],
                "default": fields.DEFAULT_SIZE,
                "description": "Width and height of the image that is made, in pixels.",
            },
            "images": {
                "type": ["array", "null"],
                "items": ref("SourceImage"),
                "maxItems": fields.MAX_SOURCES,
                "description": "One or two images to edit. Without any, the image is made from the prompt alone.",
            },
        },
    }


def _generation() -> Shape:
    return _whole(
        id=IDENTIFIER,
        token=TOKEN,
        type={"type": "string", "enum": list(Kind.values), "description": "`edit` if images were sent."},
        model={"type": "string"},
        prompt={"type": "string"},
        size={"type": "string", "enum": list(fields.SIZES)},
        image=_whole(
            url={"type": "string", "format": "uri", "description": "Needs the key, as every request does."},
            b64_json={"type": "string", "contentEncoding": "base64", "description": "The PNG's bytes."},
            mime_type={"type": "string", "const": "image/png"},
            expires_at=TIME | {"description": "When the image is destroyed: 24 hours after it was made."},
        ),
        cost=USD | {"description": "What was charged."},
        remaining_balance=USD | {"description": "The balance after that."},
    )


def _history_row() -> Shape:
    return _whole(
        id=IDENTIFIER,
        token=_nullable(TOKEN, "Null unless it was completed."),
        prompt={"type": "string"},
        model={"type": "string"},
        size={"type": "string"},
        cost=USD | {"description": "What was charged: `0.0000` unless it was completed."},
        status={"type": "string", "enum": list(Status.values)},
        type={"type": "string", "enum": list(Kind.values)},
        image_url=_nullable({"type": "string", "format": "uri"}, "Where the image is, while it is kept."),
        expires_at=_nullable(TIME, "When the image is destroyed, or was."),
        created_at=TIME | {"description": "When it was accepted."},
    )


def _error(error_types: list[str]) -> Shape:
    error = {
        "type": "object",
        "required": ["message", "code", "type", "support"],
        "properties": {
            "message": {"type": "string", "minLength": 1, "description": "What was wrong, for people."},
            "type": {"type": "string", "enum": error_types, "description": "For programs; does not change."},
            "code": {
                "type": "string",
                "pattern": CODE_PATTERN,
                "description": "Names this one failure, here and in our log.",
            },
            "support": {"type": "string", "pattern": "^Contact support with error code: "},
            "generation_id": IDENTIFIER | {"description": "Which generation, where one had been accepted."},
        },
        "additionalProperties": False,
    }
    return _whole(success={"type": "boolean", "const": False}, error=error)


def _readiness(status: str) -> Shape:
    parts = {"type": "object", "additionalProperties": {"type": "boolean"}}
    counts = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
    workers = {
        "type": "object",
        "properties": {"models": counts, "queues": counts},
        "additionalProperties": False,
        "description": "How many live for each model and each queue; empty while that cannot be known.",
    }
    return _whole(status={"type": "string", "const": status}, parts=parts, workers=workers)


def _success(data: Shape, **more: Shape) -> Shape:
    return _whole(success={"type": "boolean", "const": True}, data=data, **more)


def _whole(**properties: Shape) -> Shape:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def _nullable(shape: Shape, description: str) -> Shape:
    return shape | {"type": [shape["type"], "null"], "description": description}


def _header(description: str, schema: Shape) -> Shape:
    return {"description": description, "schema": schema}
