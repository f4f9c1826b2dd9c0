"""The fields of a request that say more of the picture or of its delivery. None was in the first release."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from drf_spectacular.drainage import set_override

from workers.catalogue import ImageModel
from zekron_api.endpoints.fields import (
    MAX_PROMPT_CHARACTERS,
    CheckedField,
    check_text,
    find_unusable,
    json_type,
)
from zekron_api.http.errors import InvalidField

MAX_SEED: Final = 2**32 - 1
MIN_EXPIRES_IN_SECONDS: Final = 60
MAX_EXPIRES_IN_SECONDS: Final = 86_400
MAX_METADATA_PAIRS: Final = 16
MAX_METADATA_KEY_CHARACTERS: Final = 64
MAX_METADATA_VALUE_CHARACTERS: Final = 512
AUTO: Final = "auto"
QUALITIES: Final = ("low", "medium", "high", AUTO)
BACKGROUNDS: Final = ("opaque", "transparent", AUTO)
# Each model has one quality. A request may name any, and the reply names the one that is made.
QUALITY: Final = "high"

_WITHOUT_NUL: Final = r"^[^\u0000]*$"
_METADATA: Final = {
    "type": ["object", "null"],
    "maxProperties": MAX_METADATA_PAIRS,
    "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_KEY_CHARACTERS, "pattern": _WITHOUT_NUL},
    "additionalProperties": {
        "type": "string",
        "maxLength": MAX_METADATA_VALUE_CHARACTERS,
        "pattern": _WITHOUT_NUL,
    },
}


class ChoiceField(CheckedField):
    """One of some words, or nothing."""

    def __init__(self, *, choices: Iterable[str], default: str, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        self._choices, self._default = tuple(choices), default
        schema = {"type": ["string", "null"], "enum": [*self._choices, None], "default": default}
        set_override(self, "field", schema)

    def checked(self, value: object) -> str:
        """Return the word, or the default if none was sent. Raises InvalidField."""
        if value is None:
            return self._default
        if not isinstance(value, str) or value not in self._choices:
            message = f"{self.field_name} must be one of: {', '.join(self._choices)}."
            raise InvalidField("invalid_parameter", message)
        return value


class NegativePromptField(CheckedField):
    """A description of what the picture should not show, or nothing."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        schema = {"type": ["string", "null"], "maxLength": MAX_PROMPT_CHARACTERS, "pattern": _WITHOUT_NUL}
        set_override(self, "field", schema)

    def checked(self, value: object) -> str | None:
        """Return the text, or None if it is empty or was not sent. Raises InvalidField."""
        if value is None or value == "":
            return None
        return check_text(value, name="negative_prompt", most=MAX_PROMPT_CHARACTERS)


class MetadataField(CheckedField):
    """The client's own names and values, which the service keeps and repeats."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        set_override(self, "field", _METADATA)

    def checked(self, value: object) -> dict[str, str]:
        """Return the pairs, without any if none were sent. Raises InvalidField."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            message = f"metadata must be an object of strings, not {json_type(value)}."
            raise InvalidField("invalid_parameter", message)
        check_metadata(value)
        return value


def check_metadata(pairs: Mapping[str, object]) -> None:
    """Raise InvalidField unless a request could have these pairs."""
    if len(pairs) > MAX_METADATA_PAIRS:
        message = f"metadata has {len(pairs)} pairs; at most {MAX_METADATA_PAIRS} are allowed."
        raise InvalidField("invalid_parameter", message)
    for name, text in pairs.items():
        _check_pair(name, text)


def _check_pair(name: str, text: object) -> None:
    # A message never repeats what the client wrote.
    if not 1 <= len(name) <= MAX_METADATA_KEY_CHARACTERS:
        message = f"Each name in metadata must have 1 to {MAX_METADATA_KEY_CHARACTERS} characters."
        raise InvalidField("invalid_parameter", message)
    if not isinstance(text, str) or len(text) > MAX_METADATA_VALUE_CHARACTERS:
        message = (
            f"Each value in metadata must be a string of at most {MAX_METADATA_VALUE_CHARACTERS} characters."
        )
        raise InvalidField("invalid_parameter", message)
    if unusable := find_unusable(name) or find_unusable(text):
        raise InvalidField("invalid_parameter", f"A name or a value in metadata has {unusable}.")


def refuse_beyond_model(fields: dict[str, Any]) -> None:
    """Raise InvalidField for a field that the model cannot honour, which the message names."""
    model: ImageModel = fields["model"]
    if fields["n"] > model.max_n:
        message = f"n must be at most {model.max_n} for the model {model.name}."
        raise InvalidField("invalid_parameter", message, field="n")
    if fields["seed"] is not None and not model.takes_seed:
        message = f"The model {model.name} takes no seed. Leave seed out."
        raise InvalidField("unsupported_parameter", message, field="seed")
    if fields["negative_prompt"] and not model.takes_negative_prompt:
        message = (
            f"The model {model.name} takes no negative_prompt. Say in prompt what to show, and leave it out."
        )
        raise InvalidField("unsupported_parameter", message, field="negative_prompt")
    if fields["partial_images"] and not model.takes_partial_images:
        message = f"The model {model.name} makes no partial images. Leave partial_images out, or send 0."
        raise InvalidField("unsupported_parameter", message, field="partial_images")
    if fields["background"] == "transparent":
        message = (
            f"The model {model.name} makes no transparent background. Leave background out, or send opaque."
        )
        raise InvalidField("unsupported_parameter", message, field="background")
