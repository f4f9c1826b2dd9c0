"""Serializers of replies: they write the JSON, and the OpenAPI document takes its schemas from them.

The document publishes the docstrings of the serializers and the help texts of their fields.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rest_framework.serializers import (
    BooleanField,
    CharField,
    DictField,
    FloatField,
    IntegerField,
    Serializer,
)

from billing.models import Account
from workers.imaging.encoders import MIME_TYPES
from workers.models import Generation, Kind, Status
from zekron_api.endpoints.parameter_fields import QUALITY
from zekron_api.endpoints.reply_fields import (
    USD,
    ReplyField,
    base64_field,
    choice,
    constant,
    cost_of,
    metadata_field,
    prompt_tokens_read_field,
    prompt_truncated_field,
    seed_field,
    time_field,
    token_field,
    url_field,
    usd_field,
)
from zekron_api.endpoints.row_serializer import RowSerializer


class Finished(NamedTuple):
    """A completed generation, the bytes of its image, and the account that paid for it."""

    generation: Generation
    content: bytes
    account: Account


class FinishedGroup(NamedTuple):
    """The first completed generation of a request for several images, as in Finished, and all that were completed.

    `failed` is the number of the others.
    """

    generation: Generation
    content: bytes
    account: Account
    images: Sequence[Finished]
    failed: int

    @property
    def total_micros(self) -> int:
        """The amount charged for all of them."""
        return sum(finished.generation.cost_micros or 0 for finished in self.images)


class GeneratedImageSerializer(Serializer[Any]):
    """The image, as a file and as an address."""

    url = url_field("The image's address. It needs your API key.", source="generation")
    b64_json = base64_field("The file as base64.", source="content")
    mime_type = choice(MIME_TYPES, source="generation.image.mime_type")
    expires_at = time_field(
        "When the image is deleted: 24 hours after it was made, or earlier with `expires_in`.",
        source="generation.expires_at",
    )


class GroupImageSerializer(Serializer[Any]):
    """One of several images."""

    id = IntegerField(source="generation.pk", min_value=1)
    token = token_field("The name of the image.", source="generation")
    index = IntegerField(source="generation.group_index", min_value=0, help_text="Its place from 0.")
    seed = seed_field(source="generation")
    image = GeneratedImageSerializer(source="*")
    cost = usd_field("The amount charged, in USD.", source="generation.cost_micros")


class GenerationSerializer(Serializer[Any]):
    """A completed generation."""

    id = IntegerField(source="generation.pk", min_value=1)
    token = token_field("The name of the image in `GET /v1/images/{token}`.", source="generation")
    type = choice(Kind.values, help_text="`edit` if images were sent.", source="generation.kind")
    model = CharField(source="generation.model")
    prompt = CharField(source="generation.prompt")
    prompt_truncated = prompt_truncated_field(source="generation")
    prompt_tokens_read = prompt_tokens_read_field(source="generation.prompt_tokens_read")
    size = CharField(source="generation.size")
    seed = seed_field(source="generation")
    quality = constant(QUALITY)
    metadata = metadata_field(source="generation")
    image = GeneratedImageSerializer(source="*")
    cost = usd_field("The amount charged, in USD.", source="generation.cost_micros")
    remaining_balance = usd_field("The balance after the charge, in USD.", source="account.balance_micros")
    images = GroupImageSerializer(
        many=True, required=False, help_text="With `n`: all images that were made, the first one included."
    )
    total_cost = usd_field("With `n`: the amount charged for all.", source="total_micros", required=False)
    failed = IntegerField(
        min_value=0, required=False, help_text="With `n`: the number of images that failed, which are free."
    )


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class GenerateReplySerializer(Serializer[Any]):
    """The reply with a finished image."""

    success = constant(True)
    data = GenerationSerializer(source="*")  # type: ignore[assignment]
    created_at = time_field("When the request was accepted.", source="generation.created_at")


class BalanceSerializer(Serializer[Any]):
    """The account's balance and totals."""

    balance = usd_field("The amount paid in minus `total_spent`.", source="balance_micros")
    total_spent = usd_field("The cost of all completed generations.", source="spent_micros")
    total_generations = IntegerField(
        source="settlement_count", min_value=0, help_text="The number of completed generations."
    )
    currency = constant("USD")
    reserved = usd_field("The part of `balance` that open generations hold.", source="reserved_micros")
    available = usd_field("`balance` minus `reserved`, for new generations.", source="available_micros")
    debt = usd_field(
        "The part of reversed payments that the account could not pay, if there is one. Credits pay it first.",
        source="debt_micros",
        required=False,
    )
    alerts = ReplyField(
        {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["type"]}},
        lambda found: found,
        "The alerts of `PUT /v1/alerts` that hold now: `low_balance` with its `threshold`, `key_spend_limit` with "
        "`key_id` and `percent`, `webhook_disabled` with `webhook_id`. Absent without any.",
        required=False,
    )


class BalanceReplySerializer(Serializer[Any]):
    """The reply with the balance."""

    success = constant(True)
    data = BalanceSerializer(source="*")  # type: ignore[assignment]


class HistoryRowSerializer(RowSerializer):
    """A generation in the history. `token`, `image_url` and `expires_at` are null unless it is completed."""

    id = IntegerField(source="pk", min_value=1)
    token = token_field("The name of the image.", source="*", allow_null=True)
    prompt = CharField(help_text="The prompt, or an empty text after the service has erased it.")
    prompt_truncated = prompt_truncated_field(source="*")
    prompt_tokens_read = prompt_tokens_read_field()
    model = CharField()
    size = CharField()
    cost = ReplyField(USD, cost_of, "The amount charged, in USD: `0.0000` unless completed.", source="*")
    status = choice(Status.values)
    type = choice(Kind.values, source="kind")
    image_url = url_field("The image's address.", source="*", allow_null=True)
    expires_at = time_field("When the image is deleted, or was.", allow_null=True)
    created_at = time_field("When the request was accepted.")
    seed = seed_field(source="*")
    metadata = metadata_field(source="*")


class PaginationSerializer(Serializer[Any]):
    """The position of the page in the history."""

    total = IntegerField(
        min_value=0,
        allow_null=True,
        help_text="The number of generations of the account. It is null with a filter, and only then.",
    )
    limit = IntegerField(min_value=1, max_value=100, help_text="The limit that was applied.")
    offset = IntegerField(min_value=0, help_text="The number of newer generations that `offset` skipped.")
    has_more = BooleanField(
        help_text="Whether older generations follow this page. With a filter, older ones may follow that do not match."
    )
    next_before = ReplyField(
        {"type": ["integer", "null"], "minimum": 1},
        lambda generation_id: generation_id,
        "With a filter or `before`: the `before` of the next page, or null on the last one.",
        required=False,
    )


class HistorySerializer(Serializer[Any]):
    """A page of the history, newest first."""

    generations = HistoryRowSerializer(many=True)
    pagination = PaginationSerializer()


class HistoryReplySerializer(Serializer[Any]):
    """The reply with a page of the history."""

    success = constant(True)
    data = HistorySerializer(source="*")  # type: ignore[assignment]


class AliveSerializer(Serializer[Any]):
    """The reply of a running process."""

    status = constant("ok")


class WorkerCountsSerializer(Serializer[Any]):
    """The number of live workers. The object is empty while the number is unknown, and absent for a role."""

    models = DictField(child=IntegerField(min_value=0), required=False, help_text="By model.")
    queues = DictField(child=IntegerField(min_value=0), required=False, help_text="By queue.")
    loading = DictField(
        child=IntegerField(min_value=0),
        required=False,
        help_text="Those that still load their models, by model. They do not count in the others.",
    )
    loading_fractions = DictField(
        child=FloatField(min_value=0, max_value=1),
        required=False,
        help_text="The part that the first of them has loaded, by model, where it is known.",
    )


class ReadySerializer(Serializer[Any]):
    """The state of each part of the service."""

    status = constant("ok")
    parts = DictField(child=BooleanField(), help_text="Whether each part works.")
    workers = WorkerCountsSerializer(required=False)


class NotReadySerializer(ReadySerializer):
    """The state of each part of the service, at least one of which does not work."""

    status = constant("unavailable")
