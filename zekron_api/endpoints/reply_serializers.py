"""Serializers of replies: they write the JSON, and the OpenAPI document takes its schemas from them.

The document publishes the docstrings of the serializers and the help texts of their fields.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import pybase64
from django.conf import settings
from drf_spectacular.drainage import set_override
from rest_framework.serializers import BooleanField, CharField, DictField, Field, IntegerField, Serializer

from billing.models import Account
from billing.money import format_usd
from workers.lifecycle import image_tokens
from workers.models import Generation, Kind, Status
from zekron_api.endpoints.fields import SIZES

Schema = dict[str, Any]


class Finished(NamedTuple):
    """A completed generation, the bytes of its image, and the account that paid for it."""

    generation: Generation
    content: bytes
    account: Account


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
    return image_tokens.token_of(generation_id=generation.pk) if is_completed else None


def _image_url(generation: Generation) -> str | None:
    token = _token(generation)
    return token and f"{settings.PUBLIC_URL}/v1/images/{token}"


def _cost(generation: Generation) -> str:
    return format_usd(generation.cost_micros or 0)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _constant(value: bool | str) -> ReplyField:
    kind = "boolean" if isinstance(value, bool) else "string"
    return ReplyField({"type": kind, "const": value}, lambda _: value, source="*")


def _choice(values: Iterable[str], **options: Any) -> ReplyField:
    return ReplyField({"type": "string", "enum": list(values)}, str, **options)


_USD: Final = {"type": "string", "pattern": r"^\d+\.\d{4}$"}
# Each takes the help text, the source, and `allow_null`.
_usd = partial(ReplyField, _USD, format_usd)
_time = partial(ReplyField, {"type": "string", "format": "date-time"}, _utc)
_base64 = partial(ReplyField, {"type": "string", "contentEncoding": "base64"}, pybase64.b64encode_as_string)
_image_token = partial(ReplyField, {"type": "string", "pattern": "^[0-9a-f]{64}$"}, _token)
_url = partial(ReplyField, {"type": "string", "format": "uri"}, _image_url)


class GeneratedImageSerializer(Serializer[Any]):
    """The image, as a file and as an address."""

    url = _url("The image's address. It needs your API key.", source="generation")
    b64_json = _base64("The PNG file as base64.", source="content")
    mime_type = _constant("image/png")
    expires_at = _time(
        "When the image is deleted: 24 hours after it was made.", source="generation.expires_at"
    )


class GenerationSerializer(Serializer[Any]):
    """A completed generation."""

    id = IntegerField(source="generation.pk", min_value=1)
    token = _image_token("The name of the image in `GET /v1/images/{token}`.", source="generation")
    type = _choice(Kind.values, help_text="`edit` if images were sent.", source="generation.kind")
    model = CharField(source="generation.model")
    prompt = CharField(source="generation.prompt")
    size = _choice(SIZES, source="generation.size")
    image = GeneratedImageSerializer(source="*")
    cost = _usd("The amount charged, in USD.", source="generation.cost_micros")
    remaining_balance = _usd("The balance after the charge, in USD.", source="account.balance_micros")


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class GenerateReplySerializer(Serializer[Any]):
    """The reply with a finished image."""

    success = _constant(True)
    data = GenerationSerializer(source="*")  # type: ignore[assignment]
    created_at = _time("When the request was accepted.", source="generation.created_at")


class BalanceSerializer(Serializer[Any]):
    """The account's balance and totals."""

    balance = _usd("The amount paid in minus `total_spent`.", source="balance_micros")
    total_spent = _usd("The cost of all completed generations.", source="spent_micros")
    total_generations = IntegerField(
        source="settlement_count", min_value=0, help_text="The number of completed generations."
    )
    currency = _constant("USD")
    reserved = _usd("The part of `balance` that open generations hold.", source="reserved_micros")
    available = _usd("`balance` minus `reserved`, for new generations.", source="available_micros")


class BalanceReplySerializer(Serializer[Any]):
    """The reply with the balance."""

    success = _constant(True)
    data = BalanceSerializer(source="*")  # type: ignore[assignment]


class HistoryRowSerializer(Serializer[Any]):
    """A generation in the history. `token`, `image_url` and `expires_at` are null unless it is completed."""

    id = IntegerField(source="pk", min_value=1)
    token = _image_token("The name of the image.", source="*", allow_null=True)
    prompt = CharField(help_text="The prompt, or an empty text after the service has erased it.")
    model = CharField()
    size = CharField()
    cost = ReplyField(_USD, _cost, "The amount charged, in USD: `0.0000` unless completed.", source="*")
    status = _choice(Status.values)
    type = _choice(Kind.values, source="kind")
    image_url = _url("The image's address.", source="*", allow_null=True)
    expires_at = _time("When the image is deleted, or was.", allow_null=True)
    created_at = _time("When the request was accepted.")


class PaginationSerializer(Serializer[Any]):
    """The position of the page in the history."""

    total = IntegerField(min_value=0, help_text="The number of generations of the account.")
    limit = IntegerField(min_value=1, max_value=100, help_text="The limit that was applied.")
    offset = IntegerField(min_value=0, help_text="The number of newer generations that were skipped.")
    has_more = BooleanField(help_text="Whether older generations follow this page.")


class HistorySerializer(Serializer[Any]):
    """A page of the history, newest first."""

    generations = HistoryRowSerializer(many=True)
    pagination = PaginationSerializer()


class HistoryReplySerializer(Serializer[Any]):
    """The reply with a page of the history."""

    success = _constant(True)
    data = HistorySerializer(source="*")  # type: ignore[assignment]


class AliveSerializer(Serializer[Any]):
    """The reply of a running process."""

    status = _constant("ok")


class WorkerCountsSerializer(Serializer[Any]):
    """The number of live workers. The object is empty while the number is unknown."""

    models = DictField(child=IntegerField(min_value=0), required=False, help_text="By model.")
    queues = DictField(child=IntegerField(min_value=0), required=False, help_text="By queue.")


class ReadySerializer(Serializer[Any]):
    """The state of each part of the service."""

    status = _constant("ok")
    parts = DictField(child=BooleanField(), help_text="Whether each part works.")
    workers = WorkerCountsSerializer()


class NotReadySerializer(ReadySerializer):
    """The state of each part of the service, at least one of which does not work."""

    status = _constant("unavailable")
