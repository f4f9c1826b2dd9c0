"""The fields of a form of OpenAI's clients, as the JSON of the same request would have them.

Each client names several files in its own way: `image[]`, `image[0]`, or `image` repeatedly. All other values are text.
"""

import re
from typing import Any, Final

from rest_framework.exceptions import ParseError

from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import parse_value
from zekron_api.http.multipart_form import Form, Part

_FILES: Final = {"image": "images", "images": "images", "mask": "mask", "markup": "markup"}
_NUMBERS: Final = frozenset(
    ["n", "output_compression", "partial_images", "seed", "expires_in", "frame_count", "frame_duration_ms"]
)
_BOOLEANS: Final = {"true": True, "false": False}
_METADATA: Final = "metadata"
# A name, and the part in brackets that makes it one of several or an entry of an object.
_NAME: Final = re.compile(r"([^\[\]]*)(?:\[([^\[\]]*)\])?")


def read(form: Form) -> dict[str, Any]:
    """Return the fields by name. `images` has the bytes of each file. Raise InvalidField for a form of no sense."""
    fields: dict[str, Any] = {}
    for part in form:
        _add(fields, part)
    return fields


def _add(fields: dict[str, Any], part: Part) -> None:
    matched = _NAME.fullmatch(part.name)
    name, entry = (matched[1], matched[2]) if matched else (part.name, None)
    if _FILES.get(name) == "images":
        fields.setdefault("images", []).append(part.content)
    elif name == _METADATA and entry:
        pairs = fields.setdefault(_METADATA, {})
        if not isinstance(pairs, dict) or entry in pairs:
            raise _occurs_twice(part.name)
        pairs[entry] = _text(part)
    elif name in fields:
        raise _occurs_twice(name)
    elif name in _FILES:
        fields[name] = part.content
    elif text := _text(part):
        fields[name] = _value(name, text)


def _value(name: str, text: str) -> object:
    """Return the value that JSON would have. What is no JSON of a body stays text, and its field refuses it."""
    if name in _NUMBERS or name == _METADATA:
        try:
            return parse_value(text.encode("utf-8"))
        except ParseError:
            return text
    return _BOOLEANS.get(text.lower(), text) if name == "stream" else text


def _text(part: Part) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        message = f"The field {part.name[:40]!r} of the form is not valid UTF-8."
        raise InvalidField("invalid_form", message) from None


def _occurs_twice(name: str) -> InvalidField:
    return InvalidField("invalid_form", f"The field {name[:40]!r} occurs twice in the form.", field=name)
