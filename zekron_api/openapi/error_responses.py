"""The error responses of an operation: status, type and message come from the code that refuses requests."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import orjson

from zekron_api.http import errors, openai_errors
from zekron_api.http.errors import ErrorReply

# An exception class, or a call that raises or returns the error that a client gets.
Cause = Callable[[], object]


class Envelope(NamedTuple):
    """A form of errors: its schema, the field that tells programs the error, and what gives a reply this form."""

    schema: str
    name_field: str
    translate: Callable[[ErrorReply], ErrorReply]


NATIVE: Final = Envelope("Error", "type", lambda reply: reply)
OPENAI: Final = Envelope("OpenAIError", "code", openai_errors.translate)


def responses(causes: Iterable[Cause], *, envelope: Envelope = NATIVE) -> dict[int, Any]:
    """Return the error responses for these causes, by status. Errors of one status share a response."""
    bodies: dict[int, dict[str, Any]] = {}
    for status, body in (_refuse(cause, envelope) for cause in causes):
        # Two causes may have the same message, such as a busy service before and after the wait.
        bodies.setdefault(status, {}).setdefault(body["error"]["message"], body)
    return {status: _response(status, list(bodies[status].values()), envelope) for status in sorted(bodies)}


def types(response: dict[str, Any], *, envelope: Envelope = NATIVE) -> list[str]:
    """Return the error types that a response of `responses` allows."""
    _, narrowed = response["content"]["application/json"]["schema"]["allOf"]
    enum: list[str] = narrowed["properties"]["error"]["properties"][envelope.name_field]["enum"]
    return enum


def _refuse(cause: Cause, envelope: Envelope) -> tuple[int, dict[str, Any]]:
    """Return status and body of the reply to this cause, with an invented error code."""
    error: object
    try:
        error = cause()
    except Exception as raised:
        # A call that breaks for another reason than the intended one must not look like an error of the API.
        if errors.describe(raised) is errors.INTERNAL:
            raise
        error = raised
    assert isinstance(error, Exception)
    status, error_type, message = errors.describe(error)
    identifier = errors.list_generations(error) if isinstance(error, errors.WithoutImage) else {}
    code = f"{error_type.upper()}_7F3A9C_1712505600"
    field = getattr(error, "field", "")
    reply = errors.envelope(status, error_type, message, code, field=field, **identifier)
    translated = envelope.translate(reply)
    return translated.status_code, orjson.loads(translated.content)


def _response(status: int, bodies: list[dict[str, Any]], envelope: Envelope) -> dict[str, Any]:
    names = list(dict.fromkeys(body["error"][envelope.name_field] for body in bodies))
    narrowed = {"properties": {"error": {"properties": {envelope.name_field: {"enum": names}}}}}
    examples: dict[str, Any] = {}
    for body in bodies:
        error_type = body["error"][envelope.name_field]
        count = sum(name.startswith(error_type) for name in examples)
        examples[f"{error_type}_{count + 1}" if count else error_type] = {"value": body}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{name}`' for name in names)}",
        "content": {
            "application/json": {
                "schema": {"allOf": [{"$ref": f"#/components/schemas/{envelope.schema}"}, narrowed]},
                "examples": examples,
            }
        },
    }
