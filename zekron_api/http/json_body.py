"""The parser and the renderer of JSON bodies.

A request body is one object in UTF-8 with unique names, bounded in bytes, values and depth.
"""

import json
from collections.abc import Mapping
from typing import IO, Any, Final

import orjson
from django.conf import settings
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from zekron_api.http.errors import PayloadTooLarge

# No valid request is this deep. A deeper body attacks the code that walks it.
MAX_DEPTH: Final = 32
# A valid body has long strings and few values. Python needs twenty times the bytes of a small value to hold it.
MAX_PARTS: Final = 100_000
# The time of int() grows with the square of the digits.
MAX_DIGITS: Final = 1000
# The media type of a form with files.
FORM: Final = "multipart/form-data"
_UTF_8: Final = frozenset({"utf-8", "utf8"})
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class NotAnObject(ParseError):
    """The request body is JSON, but not an object."""


class ObjectParser(BaseParser):
    """DRF's parser for JSON objects. Call `check_body` with the request first."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object of the stream; raise ParseError (invalid_json) that names the error."""
        return parse_object(stream.read())


class OrjsonRenderer(BaseRenderer):
    """DRF's renderer for JSON by orjson, because a reply may hold two megabytes of base64."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return `data`, made of str, int, bool, None, lists and dicts, as JSON in UTF-8."""
        return orjson.dumps(data)


def check_body(request: Request, *, takes_form: bool = False) -> None:
    """Check a body by its headers. Some paths take a form with files as well.

    Raises PayloadTooLarge, UnsupportedMediaType, or ParseError for an empty body.
    """
    byte_count = int(request.META.get("CONTENT_LENGTH") or 0)
    if byte_count > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise PayloadTooLarge
    media_type = request._request.content_type
    # Without a body there is no wrong media type. The error is the empty body, below.
    is_known = media_type == ObjectParser.media_type or (takes_form and media_type == FORM)
    if not is_known and (media_type or byte_count):
        form = f" or a form, with {FORM}" if takes_form else ""
        raise _unsupported(
            request, f"The request body must be JSON, with the header Content-Type: application/json{form}."
        )
    if (request._request.content_params or {}).get("charset", "utf-8").lower() not in _UTF_8:
        raise _unsupported(
            request, "The request body must be in UTF-8. Leave the charset out of Content-Type."
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unsupported(
            request, "The request body must not be compressed. Leave out the header Content-Encoding."
        )
    if not byte_count:
        raise ParseError("The request body is empty. It must be a JSON object.")


def read_body(request: Request, kind: type[Serializer[Any]], *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the checked fields of the body. An empty one is an object without fields where it may be empty.

    Raises what `check_body`, the parser and the serializer raise.
    """
    is_left_out = may_be_empty and not int(request.META.get("CONTENT_LENGTH") or 0)
    if not is_left_out:
        check_body(request)
    body = kind(data={} if is_left_out else request.data)
    body.is_valid(raise_exception=True)
    fields: dict[str, Any] = body.validated_data
    return fields


def parse_object(content: bytes) -> dict[str, Any]:
    """Return the object that the bytes of a body hold; raise ParseError and nothing else."""
    value = parse_value(content)
    if not isinstance(value, dict):
        raise NotAnObject("The request body is JSON but not an object.")
    return value


def parse_value(content: bytes) -> object:
    """Return the value that bytes of a body hold, within the bounds of a body; raise ParseError and nothing else."""
    if content.startswith(_BYTE_ORDER_MARK):
        raise ParseError("The request body must not begin with a byte order mark.")
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > MAX_PARTS:
        raise ParseError(f"The request body has too many values. At most {MAX_PARTS} values are allowed.")
    try:
        value: object = json.loads(
            content.decode("utf-8"),
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_doubles,
        )
    except UnicodeDecodeError:
        raise ParseError("The request body is not valid UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise ParseError(f"The request body is not valid JSON: {error}") from None
    if _depth(value) > MAX_DEPTH:
        raise ParseError(f"The request body must not be nested deeper than {MAX_DEPTH} levels.")
    return value


def _unsupported(request: Request, message: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(request.content_type, detail=message)


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a repeated name: parsers differ in which value they keep, so one may check what another does not use."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def _depth(value: object) -> int:
    """Return the depth of nested containers, counted level by level without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
