"""The fields of requests. Each raises InvalidField with the contract's type, the error and the allowed values."""

import re
from collections.abc import Callable, Iterable, Sized
from typing import Any, Final

import pybase64
from django.conf import settings
from drf_spectacular.drainage import set_override
from rest_framework.fields import Field, empty

from workers.catalogue import DEFAULT_MODEL, MAX_N, ImageModel, find_model, known_names
from workers.imaging import source_images, source_manifest
from zekron_api.endpoints import sizes
from zekron_api.endpoints.sizes import Size
from zekron_api.http.errors import InvalidField

MAX_PROMPT_CHARACTERS = 4000
MAX_SOURCES = 2
MAX_SOURCE_BYTES = 10 * 1024 * 1024

# Characters that show nothing, as a class of a regular expression. They are controls other than NUL, spaces, and the
# default-ignorable characters of Unicode (DerivedCoreProperties.txt), with the blank pattern of Braille.
INVISIBLE: Final = (
    "\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VISIBLE: Final = re.compile(f"[^{INVISIBLE}]")
# Characters that PostgreSQL or UTF-8 cannot hold.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_DATA_URL = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_LINE_BREAKS = {ord("\r"): None, ord("\n"): None}
_KINDS = {str: "a string", bool: "a boolean", list: "an array", dict: "an object", type(None): "null"}


def json_type(value: object) -> str:
    """Return JSON's name of the value's type. A message never repeats a value of the client."""
    return _KINDS.get(type(value), "a number")


def find_unusable(text: str) -> str | None:
    """Return where a text has a character that cannot be kept, as a part of a message, or None."""
    found = _UNUSABLE.search(text)
    if found is None:
        return None
    return f"{'a NUL' if found[0] == chr(0) else 'an unpaired surrogate'} at character {found.start()}"


def check_text(value: object, *, name: str, most: int) -> str:
    """Return a text of at most `most` characters that can be kept. Raises InvalidField for anything else."""
    if not isinstance(value, str):
        raise InvalidField("invalid_parameter", f"{name} must be a string, not {json_type(value)}.")
    if len(value) > most:
        message = f"{name} has {len(value)} characters; at most {most} are allowed."
        raise InvalidField("invalid_parameter", message)
    if unusable := find_unusable(value):
        raise InvalidField("invalid_parameter", f"{name} has {unusable}.")
    return value


def whole_number(value: object, *, name: str, least: int, most: int) -> int | None:
    """Return the number, or None for null. Raises InvalidField for anything else than a whole number in bounds."""
    if value is None:
        return None
    # In JSON 60.0 is a whole number too.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # In Python a boolean is a number.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidField("invalid_parameter", f"{name} must be a whole number from {least} to {most}.")
    return value


class CheckedField(Field[Any, Any, Any, Any]):
    """A field that takes the sent value, or None for a missing one, and returns the checked value."""

    def run_validation(self, data: Any = empty) -> Any:
        """Return the checked value; DRF calls it."""
        try:
            return self.checked(None if data is empty else data)
        except InvalidField as error:
            error.field = error.field or self.field_name or ""
            raise

    def checked(self, value: object) -> Any:
        """Return the value for the domain; raise InvalidField."""
        raise AssertionError("each field implements `checked`")

    def to_representation(self, value: Any) -> Any:
        """Return the value unchanged; requests are never rendered."""
        return value


class PromptField(CheckedField):
    """A prompt with a visible character."""

    def checked(self, value: object) -> str:
        """Return the prompt as it was sent."""
        if value is None:
            raise InvalidField(
                "missing_prompt", "The prompt field is required. It must be a string that is not blank."
            )
        if not isinstance(value, str):
            raise InvalidField("missing_prompt", f"prompt must be a string, not {json_type(value)}.")
        if not _VISIBLE.search(value):
            raise InvalidField("missing_prompt", "prompt must not be blank. It has no visible character.")
        if len(value) > MAX_PROMPT_CHARACTERS:
            message = f"prompt has {len(value)} characters; at most {MAX_PROMPT_CHARACTERS} are allowed."
            raise InvalidField("prompt_too_long", message)
        if unusable := find_unusable(value):
            raise InvalidField("invalid_prompt", f"prompt has {unusable}. All other characters are allowed.")
        return value


class ModelField(CheckedField):
    """The name of a public model, or an alias of the operator; the default is `zekron-image-1`."""

    def checked(self, value: object) -> ImageModel:
        """Return the model's entry in the catalogue."""
        name = DEFAULT_MODEL if value is None else value
        model = find_model(name) if isinstance(name, str) else None
        if model is None:
            raise InvalidField("invalid_model", _not_allowed("model", name, allowed=known_names()))
        return model


class SizeField(CheckedField):
    """A size or `auto`; the default is `1024x1024`."""

    def checked(self, value: object) -> Size | None:
        """Return width and height in pixels, or None for `auto`. Raises InvalidField."""
        name = sizes.DEFAULT_SIZE if value is None else value
        if name == sizes.AUTO:
            return None
        size = sizes.parse(name) if isinstance(name, str) else None
        if size is None:
            allowed = (*sizes.SIZES, sizes.AUTO, sizes.RULES)
            raise InvalidField("invalid_size", _not_allowed("size", name, allowed=allowed))
        if not size.is_allowed:
            message = f"size must be {sizes.RULES}. The nearest allowed size is {sizes.nearest(size)}."
            raise InvalidField("invalid_size", message)
        return size


class FlagField(CheckedField):
    """True, false, or nothing."""

    def checked(self, value: object) -> bool | None:
        """Return the flag, or None if none was sent. Raises InvalidField."""
        if value is not None and not isinstance(value, bool):
            message = f"{self.field_name} must be true or false, not {json_type(value)}."
            raise InvalidField("invalid_parameter", message)
        return value


class NumberField(CheckedField):
    """A whole number from `least` to `most`, or nothing."""

    def __init__(self, *, least: int, most: int, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        self._least, self._most = least, most
        set_override(self, "field", {"type": ["integer", "null"], "minimum": least, "maximum": most})

    def checked(self, value: object) -> int | None:
        """Return the number, or None if none was sent. Raises InvalidField."""
        return whole_number(value, name=self.field_name or "", least=self._least, most=self._most)


class ImageCountField(CheckedField):
    """The number of images; the default is 1. Its schema depends on the models file."""

    def checked(self, value: object) -> int:
        """Return the number. Raises InvalidField."""
        return whole_number(value, name=self.field_name or "", least=1, most=MAX_N) or 1


class SourcesField(CheckedField):
    """The source images: none for a create, one or two for an edit, each `{"data": base64}`."""

    def checked(self, value: object) -> tuple[bytes, ...]:
        """Return the images as PNGs that this service wrote. They keep nothing of the client's file but its pixels.

        Where pictures get C2PA manifests, they keep the one of the file too.
        """
        return _sources(value, self._source)

    def file_of(self, item: object, name: str) -> bytes:
        """Return the client's file of an item, which messages call `name`. Raises InvalidField."""
        return _file_of(item, name)

    def _source(self, item: object, position: int) -> bytes:
        original = self.file_of(item, f"images[{position}]")
        normalised = _normalised(original, position)
        if settings.PROVENANCE != "c2pa":
            return normalised
        return source_manifest.carry_over(normalised, original=original, position=position)


class SourceCountField(CheckedField):
    """The source images of a quote: as for a generation, or their number."""

    def checked(self, value: object) -> Sized:
        """Return as many items as there are images."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _sources(value, _source)
        if value > MAX_SOURCES:
            raise InvalidField("too_many_images", f"images must be at most {MAX_SOURCES}.")
        if value < 0 or value != int(value):
            message = f"images must be an array, or a whole number from 0 to {MAX_SOURCES}."
            raise InvalidField("invalid_parameter", message)
        return range(int(value))


def refuse_too_many(images: Sized, *, model: ImageModel) -> None:
    """Raise InvalidField for more images than an edit of this model may have."""
    if len(images) > model.sources:
        most = (
            f"at most {model.sources}" if model.sources else "none, because it makes images from text alone"
        )
        items = "1 item" if len(images) == 1 else f"{len(images)} items"
        raise InvalidField("too_many_images", f"images has {items}; the model {model.name} takes {most}.")


def refuse_more_than_any_model_takes(images: Sized) -> None:
    """Raise InvalidField for more images than an edit of any model may have."""
    if len(images) > MAX_SOURCES:
        message = f"images has {len(images)} items; at most {MAX_SOURCES} are allowed for editing."
        raise InvalidField("too_many_images", message)


def _sources(value: object, read: Callable[[object, int], bytes]) -> tuple[bytes, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        message = f'images must be an array of objects {{"data": base64}}, not {json_type(value)}.'
        raise InvalidField("invalid_base64", message)
    refuse_more_than_any_model_takes(value)
    return tuple(read(item, position) for position, item in enumerate(value))


def _source(item: object, position: int) -> bytes:
    return _normalised(_file_of(item, f"images[{position}]"), position)


def _file_of(item: object, name: str) -> bytes:
    if not isinstance(item, dict):
        message = f'{name} must be an object {{"data": base64}}, not {json_type(item)}.'
        raise InvalidField("invalid_base64", message)
    return decode_file(item.get("data"), f"{name}.data")


def _normalised(content: bytes, position: int) -> bytes:
    """Return the picture as a PNG that this service wrote."""
    try:
        return source_images.normalise(content)
    except source_images.InvalidImage as error:
        raise InvalidField("invalid_image", f"images[{position}]: {error}") from None


def decode_file(data: object, name: str) -> bytes:
    """Return the bytes of an image's file in base64. Raise InvalidField, which names the field as `name`."""
    return refuse_too_large(decode_base64(data, name), name.removesuffix(".data"))


def refuse_too_large(content: bytes, name: str) -> bytes:
    """Return the bytes of a source's file. Raise InvalidField for more than one may have."""
    if len(content) > MAX_SOURCE_BYTES:
        message = f"{name} has {len(content)} bytes; at most {MAX_SOURCE_BYTES} are allowed."
        raise InvalidField("invalid_image", message)
    return content


def decode_base64(data: object, name: str) -> bytes:
    """Decode the standard alphabet with padding, with or without line breaks and the start of a data URL."""
    if not isinstance(data, str) or not data:
        raise InvalidField("invalid_base64", f"{name} is required. It must be the image's file in base64.")
    start = _DATA_URL.match(data)
    text = data[start.end() :] if start else data
    try:
        return pybase64.b64decode(text.translate(_LINE_BREAKS), validate=True)
    except ValueError:
        message = f"{name} is not valid base64. Allowed: A-Z, a-z, 0-9, +, /, line breaks, and = at the end."
        raise InvalidField("invalid_base64", message) from None


def _not_allowed(name: str, value: object, *, allowed: Iterable[str]) -> str:
    error = (
        f"Unknown {name}." if isinstance(value, str) else f"{name} must be a string, not {json_type(value)}."
    )
    return f"{error} Allowed: {', '.join(allowed)}."
