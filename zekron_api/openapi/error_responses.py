"""The errors of an operation, from the table that decides them: status, type and message are written there alone."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from zekron_api.http import errors
from zekron_api.openapi import schemas

# What an operation may refuse with: an exception of the table, or a type that an InvalidField names.
Cause = type[Exception] | str


class Refusal(NamedTuple):
    """One error that a client may get."""

    status: int
    error_type: str
    message: str


# Messages that say more when the request is known, as they read for an example of one.
MESSAGES: Final = {
    "invalid_json": "The request body is not valid JSON: Expecting value: line 1 column 12 (char 11)",
    "missing_prompt": "The prompt field is required: a text that is not blank.",
    "prompt_too_long": "prompt has 4321 characters; at most 4000 are allowed.",
    "invalid_prompt": "prompt has a NUL at character 3; any other character is allowed.",
    "invalid_model": "model is none of those there are; allowed: zekron-image-1.",
    "invalid_size": "size is none of those there are; allowed: 512x512, 1024x1024, 1024x768, 768x1024.",
    "too_many_images": "images has 3 items; at most 2 are allowed for editing.",
    "invalid_base64": "images[0].data is required: the image's file as base64.",
    "invalid_image": "images[0]: The data is not a readable PNG, JPEG or WebP image.",
    "invalid_parameter": "limit must be a whole number of at least 1.",
    "method_not_allowed": "DELETE is not allowed here; allowed: GET, HEAD.",
    "unsupported_media_type": "The body must be JSON, with Content-Type: application/json.",
    "generation_failed": "Image generation failed; nothing was charged. Try again.",
    "image_unreachable": (
        "Generation 42 is completed and charged, but its image cannot be read at this moment."
        " It is in GET /v1/generations."
    ),
    "service_busy": "The service is busy; nothing was charged. Try again later.",
    "generation_timeout": "Generation 42 is still running; its image will appear in GET /v1/generations.",
}
# Which reply surely has a header; where it may also be absent, `MAYBE` has it.
RATE: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
SURELY: Final = {
    401: ("WWW-Authenticate",),
    402: RATE,
    405: ("Allow",),
    410: RATE,
    413: RATE,
    415: RATE,
    422: RATE,
    429: ("Retry-After", *RATE),
    503: ("Retry-After", *RATE),
    504: RATE,
}
# These also come from before the rate is counted.
MAYBE: Final = {400: RATE, 403: RATE, 404: RATE, 405: RATE, 500: RATE}


def refusals(causes: Iterable[Cause]) -> Iterator[Refusal]:
    """What clients are told for each cause, in the causes' order."""
    for cause in causes:
        exception = errors.InvalidField if isinstance(cause, str) else cause
        yield _refusal(exception, cause if isinstance(cause, str) else "")


def all_types() -> list[str]:
    """Every `type` that an error may have."""
    fixed = {error_type for _, _, error_type, _ in errors.TABLE} | {errors.INTERNAL[1]}
    return sorted((fixed | MESSAGES.keys()) - {""})


def responses(causes: Iterable[Cause], *, has_rate: bool) -> dict[str, Any]:
    """The responses of an operation, by status."""
    by_status: dict[int, list[Refusal]] = {}
    for refusal in refusals(causes):
        by_status.setdefault(refusal.status, []).append(refusal)
    return {str(status): _response(status, by_status[status], has_rate) for status in sorted(by_status)}


def reply_headers(status: int, *, has_rate: bool) -> dict[str, Any]:
    """The headers of a reply with this status."""
    sure = SURELY.get(status, RATE if status < 300 else ())
    names = tuple(name for name in sure if has_rate or name not in RATE)
    maybe = MAYBE.get(status, ()) if has_rate else ()
    return {
        **schemas.header_refs(("X-Request-Id", *names), required=True),
        **schemas.header_refs(maybe, required=False),
    }


def _refusal(exception: type[Exception], field_type: str) -> Refusal:
    # The same first match as in the reply itself.
    for known, status, error_type, message in errors.TABLE:
        if issubclass(exception, known):
            told = error_type or field_type
            return Refusal(status, told, message or MESSAGES[told])
    return Refusal(*errors.INTERNAL)


def _response(status: int, told: list[Refusal], has_rate: bool) -> dict[str, Any]:
    types = list(dict.fromkeys(refusal.error_type for refusal in told))
    narrowed = {"properties": {"error": {"properties": {"type": {"enum": types}}}}}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{name}`' for name in types)}",
        "headers": reply_headers(status, has_rate=has_rate),
        "content": {
            "application/json": {
                "schema": {"allOf": [schemas.ref("Error"), narrowed]},
                "examples": _examples(told),
            }
        },
    }


def _examples(told: list[Refusal]) -> dict[str, Any]:
    """By type; a type that has several messages gives as many."""
    examples: dict[str, Any] = {}
    for refusal in told:
        value = {"value": _example(refusal)}
        # service_busy is one, whether it is said at once or after the wait.
        if value not in examples.values():
            others = sum(name.startswith(refusal.error_type) for name in examples)
            examples[refusal.error_type + (f"_{others + 1}" if others else "")] = value
    return examples


def _example(refusal: Refusal) -> dict[str, Any]:
    code = f"{refusal.error_type.upper()}_7F3A9C_1712505600"
    error: dict[str, Any] = {
        "message": refusal.message,
        "code": code,
        "type": refusal.error_type,
        "support": f"Contact support with error code: {code}",
    }
    if refusal.error_type in {"generation_failed", "generation_timeout", "image_unreachable"}:
        error["generation_id"] = 42
    return {"success": False, "error": error}
