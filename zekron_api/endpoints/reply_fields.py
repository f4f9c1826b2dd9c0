"""The kinds of fields that replies have, each with its JSON schema. They know no reply."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pybase64
from django.conf import settings
from drf_spectacular.drainage import set_override
from rest_framework.serializers import Field

from billing.money import format_usd
from workers.lifecycle import image_tokens
from workers.models import Generation, Status

Schema = dict[str, Any]


class ReplyField(Field[Any, Any, Any, Any]):
    """A field that sends `convert(value)`. `schema` is its JSON schema."""

    def __init__(
        self, schema: Schema, convert: Callable[[Any], object], help_text: str = "", **options: Any
    ) -> None:
        super().__init__(help_text=help_text or None, **options)
        self._convert = convert
        set_override(self, "field", schema)

    def to_representation(self, value: object) -> object:
        """Convert the value."""
        return self._convert(value)


def _token(generation: Generation) -> str | None:
    is_completed = generation.status == Status.COMPLETED
    if not is_completed:
        return None
    return image_tokens.token_of(generation_id=generation.pk, digest=generation.token_digest)


def image_url_of(generation: Generation) -> str | None:
    """Return the image's address, or None without an image."""
    token = _token(generation)
    return token and f"{settings.PUBLIC_URL}/v1/images/{token}"


def cost_of(generation: Generation) -> str:
    """Return the amount charged, or zero."""
    return format_usd(generation.cost_micros or 0)


def utc(moment: datetime) -> str:
    """Return a time as replies have it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def constant(value: bool | int | str) -> ReplyField:
    """Return a field that always has this value."""
    kind = {bool: "boolean", int: "integer", str: "string"}[type(value)]
    return ReplyField({"type": kind, "const": value}, lambda _: value, source="*")


def choice(values: Iterable[str], **options: Any) -> ReplyField:
    """Return a field with one of these values."""
    return ReplyField({"type": "string", "enum": list(values)}, str, **options)


def seed_field(**options: Any) -> ReplyField:
    """Return the field of the seed."""
    return ReplyField(
        {"type": ["integer", "null"], "minimum": 0},
        lambda generation: generation.parameters.get("seed"),
        "The seed of the noise, or null after the service has erased it.",
        **options,
    )


def metadata_field(**options: Any) -> ReplyField:
    """Return the field of the client's own names and values."""
    return ReplyField(
        {"type": "object", "additionalProperties": {"type": "string"}},
        lambda generation: generation.parameters.get("metadata", {}),
        "The request's `metadata`, which is empty after the service has erased it.",
        **options,
    )


USD: Final = {"type": "string", "pattern": r"^\d+\.\d{4}$"}
# Each takes the help text, the source, and `allow_null`.
usd_field = partial(ReplyField, USD, format_usd)
time_field = partial(ReplyField, {"type": "string", "format": "date-time"}, utc)
base64_field = partial(
    ReplyField, {"type": "string", "contentEncoding": "base64"}, pybase64.b64encode_as_string
)
token_field = partial(ReplyField, {"type": "string", "pattern": "^[0-9a-f]{64}$"}, _token)
url_field = partial(ReplyField, {"type": "string", "format": "uri"}, image_url_of)
# Each takes the source alone: the generation, and its `prompt_tokens_read`.
prompt_truncated_field = partial(
    ReplyField,
    {"type": "boolean"},
    lambda generation: generation.prompt_tokens_read is not None,
    "Whether the model read only a part of the prompt, such as its beginning. It is known once the image is made.",
)
prompt_tokens_read_field = partial(
    ReplyField,
    {"type": "integer", "minimum": 0},
    lambda count: count,
    "The number of the prompt's tokens that the model read, or null if the prompt was not truncated.",
    allow_null=True,
)
