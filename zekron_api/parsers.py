"""Reads a JSON body: bounded in bytes and depth, UTF-8, one object."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from zekron_api.errors import PayloadTooLarge

# Deeper than any request is; a deeper one is an attack on whoever walks it.
DEPTH_LIMIT = 32


class ObjectParser(BaseParser):
    """`application/json` whose top level is an object."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Raises PayloadTooLarge, or ParseError (invalid_json) with what is wrong."""
        content = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(content) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise PayloadTooLarge
        try:
            value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
        except UnicodeDecodeError:
            raise ParseError("The request body is not valid UTF-8.") from None
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The request body is not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise ParseError("The request body is JSON but not an object.")
        if _depth(value) > DEPTH_LIMIT:
            raise ParseError(f"The request body is nested deeper than {DEPTH_LIMIT} levels.")
        return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _depth(value: object) -> int:
    """How many containers lie within each other, counted level by level, without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
