"""Errors in the form of OpenAI's API, for the paths that OpenAI's clients call.

These clients choose an exception by the status, and read `message`, `type`, `param` and `code` from `error`.
"""

import re
from typing import Final, TypeVar

import orjson
from django.http import HttpResponse

from workers.moderation import CONTENT_POLICY_VIOLATION
from zekron_api.http.errors import ErrorReply

R = TypeVar("R", bound=HttpResponse)

_PATHS: Final = re.compile(r"/v1/(?:images/(?:generations|edits|variations)/?|models(?:/.*)?)", re.DOTALL)
# OpenAI's clients repeat a 409, whose cause is final here. `x-should-retry` stops the official ones alone.
_STATUSES: Final = {409: 400}
_TYPES: Final = {402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}
# OpenAI's names for some of the service's types of errors.
_CODES: Final = {
    "unauthorized": "invalid_api_key",
    "invalid_model": "model_not_found",
    "idempotency_mismatch": "idempotency_key_reused",
    CONTENT_POLICY_VIOLATION: "moderation_blocked",
}
# The field that an error is about, where the error does not know it, and OpenAI's names of fields.
_FIELDS: Final = {"model_not_found": "model", "too_many_images": "image", "invalid_mask": "mask"}
_NAMES: Final = {"images": "image"}


def is_for(path: str) -> bool:
    """Return whether errors of this path have OpenAI's form."""
    return _PATHS.fullmatch(path) is not None


def for_path(path: str, response: R) -> R:
    """Give an error the form that clients of this path read. Any other response is returned unchanged."""
    if isinstance(response, ErrorReply) and is_for(path):
        translate(response)
    return response


def translate(reply: ErrorReply) -> ErrorReply:
    """Give the error OpenAI's form, and return it. The service's own code becomes `reference`."""
    reply.content = orjson.dumps({"error": describe(reply)})
    reply.status_code = _STATUSES.get(reply.status_code, reply.status_code)
    if "Content-Length" in reply:
        reply["Content-Length"] = str(len(reply.content))
    return reply


def describe(reply: ErrorReply) -> dict[str, object]:
    """Return the error as OpenAI's clients read it, with what the service says beside."""
    own_type = str(reply.error["type"])
    rest = {
        name: value
        for name, value in reply.error.items()
        if name not in {"message", "type", "code", "support"}
    }
    field = reply.field or _FIELDS.get(own_type)
    return {
        "message": reply.error["message"],
        "type": _type_of(reply.status_code, own_type),
        "param": field and _NAMES.get(field, field),
        "code": _CODES.get(own_type, own_type),
        "reference": reply.error["code"],
        **rest,
    }


def _type_of(status: int, own_type: str) -> str:
    if own_type == CONTENT_POLICY_VIOLATION:
        return "image_generation_user_error"
    return "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
