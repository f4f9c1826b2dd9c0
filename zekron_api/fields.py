"""The fields of requests: each refuses with what is wrong and what is allowed, under the contract's type."""

from typing import Any

import pybase64
from rest_framework.fields import Field, empty

from workers import sources
from workers.catalogue import DEFAULT_MODEL, ImageModel, catalogue
from zekron_api.errors import InvalidField

# The published sizes, as (width, height) in pixels.
SIZES = {"512x512": (512, 512), "1024x1024": (1024, 1024), "1024x768": (1024, 768), "768x1024": (768, 1024)}
DEFAULT_SIZE = "1024x1024"
PROMPT_LIMIT_CHARACTERS = 4000
SOURCE_LIMIT = 2
SOURCE_LIMIT_BYTES = 10 * 1024 * 1024


class CheckedField(Field[Any, Any, Any, Any]):
    """A field that sees what was sent, with None for nothing, and raises InvalidField or returns what it means."""

    def run_validation(self, data: Any = empty) -> Any:
        """DRF's entry."""
        return self.checked(None if data is empty else data)

    def checked(self, value: object) -> Any:
        """What the value means."""
        raise AssertionError("each field checks its own value")

    def to_representation(self, value: Any) -> Any:
        """Requests are only read."""
        return value


class PromptField(CheckedField):
    """A text that is not blank."""

    def checked(self, value: object) -> str:
        """The prompt as it was sent."""
        if not isinstance(value, str) or not value.strip():
            raise InvalidField("missing_prompt", "The prompt field is required: a text that is not blank.")
        if len(value) > PROMPT_LIMIT_CHARACTERS:
            message = (
                f"The prompt has {len(value)} characters; at most {PROMPT_LIMIT_CHARACTERS} are allowed."
            )
            raise InvalidField("prompt_too_long", message)
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidField("invalid_prompt", "The prompt has a NUL or half of a surrogate pair in it.")
        return value


class ModelField(CheckedField):
    """The name of a public model, `zekron-image-1` unless one is sent."""

    def checked(self, value: object) -> ImageModel:
        """The model's entry in the catalogue."""
        name = DEFAULT_MODEL if value is None else value
        models = catalogue()
        if not isinstance(name, str) or name not in models:
            raise InvalidField("invalid_model", f"Invalid model; allowed: {', '.join(models)}.")
        return models[name]


class SizeField(CheckedField):
    """One of the published sizes, `1024x1024` unless one is sent."""

    def checked(self, value: object) -> tuple[int, int]:
        """Width and height in pixels."""
        name = DEFAULT_SIZE if value is None else value
        if not isinstance(name, str) or name not in SIZES:
            raise InvalidField("invalid_size", f"Invalid size; allowed: {', '.join(SIZES)}.")
        return SIZES[name]


class SourcesField(CheckedField):
    """No images for a create; one or two for an edit, each `{"data": base64}`."""

    def checked(self, value: object) -> tuple[bytes, ...]:
        """The decoded files, each a PNG, JPEG or WebP that opens."""
        if value is None:
            return ()
        if not isinstance(value, list):
            raise InvalidField(
                "invalid_base64", "images must be a list of objects, each with base64 in its field data."
            )
        if len(value) > SOURCE_LIMIT:
            raise InvalidField(
                "too_many_images", f"{len(value)} images; at most {SOURCE_LIMIT} are allowed for editing."
            )
        return tuple(_source(item, f"images[{position}]") for position, item in enumerate(value))


def _source(item: object, name: str) -> bytes:
    data = item.get("data") if isinstance(item, dict) else None
    if not isinstance(data, str) or not data:
        raise InvalidField("invalid_base64", f"{name} must be an object with base64 in its field data.")
    content = _base64(data, name)
    if len(content) > SOURCE_LIMIT_BYTES:
        message = f"{name} has {len(content)} bytes; at most {SOURCE_LIMIT_BYTES} are allowed."
        raise InvalidField("invalid_image", message)
    try:
        sources.decode(content)
    except sources.InvalidImage as error:
        raise InvalidField("invalid_image", f"{name}: {error}") from None
    return content


def _base64(data: str, name: str) -> bytes:
    if data.startswith("data:"):
        _, _, data = data.partition(",")
    try:
        return pybase64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise InvalidField("invalid_base64", f"{name}.data is not valid base64.") from None
