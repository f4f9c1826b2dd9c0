"""The requests and the replies of the endpoints of webhooks.

The OpenAPI document publishes the docstrings of the serializers and the help texts of their fields.
"""

from datetime import datetime
from typing import Any, Final

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_serializer
from rest_framework.serializers import BooleanField, CharField, IntegerField, ListField, Serializer

from workers.webhook_models import DisabledReason
from workers.webhooks import deliveries, endpoints, events
from zekron_api.endpoints import webhook_fields
from zekron_api.endpoints.fields import FlagField, NumberField
from zekron_api.endpoints.list_generations import CursorField, TimeField, limit_field
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, time_field
from zekron_api.http.errors import InvalidField

_SECRET: Final = {"type": "string", "pattern": "^whsec_[A-Za-z0-9+/]+=*$"}
_ENABLED: Final = (
    "Whether events are sent. What fails while it is false is lost, unless it is recovered later."
)
_PROMPT: Final = "Whether events have the prompt. Receivers often log what they get, so the default is false."


@extend_schema_serializer(component_name="CreateWebhookRequest")
class CreateWebhookSerializer(Serializer[Any]):
    """The body of POST /v1/webhooks. Unknown fields are ignored."""

    url = webhook_fields.RequiredWebhookUrlField(
        help_text="The https address that gets the events, at port 443 or 8443 of a public address."
    )
    events = webhook_fields.EventsField(
        required=False, help_text="The events to send. Without them these are the three ends of a generation."
    )
    enabled = FlagField(required=False, help_text="Whether events are sent. The default is true.")
    include_prompt = FlagField(required=False, help_text=_PROMPT)
    description = webhook_fields.DescriptionField(required=False, help_text="A text for yourself.")


@extend_schema_serializer(component_name="ChangeWebhookRequest")
class ChangeWebhookSerializer(CreateWebhookSerializer):
    """The body of PATCH /v1/webhooks/{id}. What is not sent, or null, stays as it is."""

    url = webhook_fields.WebhookUrlField(required=False, help_text="The new address.")  # type: ignore[assignment]


@extend_schema_serializer(component_name="RotateSecretRequest")
class RotateSerializer(Serializer[Any]):
    """The body of a rotation, which may be empty."""

    overlap_seconds = NumberField(
        least=0,
        most=endpoints.MAX_OVERLAP_SECONDS,
        help_text="The seconds for which the former secret signs too. "
        f"Without it they are {endpoints.DEFAULT_OVERLAP_SECONDS}.",
    )


class SinceField(TimeField):
    """A time in ISO 8601 with an offset from UTC, which must be sent."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(help_text=help_text)
        self.required = True

    def checked(self, value: object) -> datetime:
        """Return the time in UTC. Raises InvalidField."""
        moment = super().checked(value)
        if moment is None:
            message = f"{self.field_name} is required. It must be an ISO 8601 time with an offset."
            raise InvalidField("invalid_parameter", message)
        return moment


class UntilField(TimeField):
    """A time in ISO 8601 with an offset from UTC, or nothing."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(help_text=help_text)
        set_override(self, "field", {"type": ["string", "null"], "format": "date-time"})


@extend_schema_serializer(component_name="RecoverRequest")
class RecoverSerializer(Serializer[Any]):
    """The body of a recovery."""

    since = SinceField(help_text="Sends what failed of the events from this time on.")
    until = UntilField(help_text="Sends only events before this time. Without it, it is now.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a recovery that ends before it begins."""
        if attrs["until"] and attrs["since"] > attrs["until"]:
            raise InvalidField("invalid_parameter", "since must not be after until.", field="since")
        return attrs


class DeliveryPageSerializer(Serializer[Any]):
    """The query of the log."""

    limit = limit_field("deliveries")
    before = CursorField(
        help_text="The id of a delivery. The page has older ones. Send the last page's `next_before`."
    )


class WebhookSerializer(Serializer[Any]):
    """A webhook: an address that gets events of the account."""

    id = IntegerField(source="endpoint.pk", min_value=1)
    url = CharField(source="endpoint.url")
    events = ListField(child=choice(events.SUBSCRIBABLE), source="endpoint.events")
    enabled = BooleanField(source="endpoint.is_enabled", help_text="Whether events are sent.")
    include_prompt = BooleanField(source="endpoint.include_prompt", help_text=_PROMPT)
    description = CharField(source="endpoint.description")
    created_at = time_field("When it was created.", source="endpoint.created_at")
    failures = IntegerField(
        source="endpoint.failure_count", min_value=0, help_text="The failed attempts since the last success."
    )
    last_success_at = time_field(
        "When its receiver last took an event, within a minute.",
        source="endpoint.last_success_at",
        allow_null=True,
    )
    disabled_at = time_field(
        "When the service disabled it, or null. Enable it again with PATCH.",
        source="endpoint.disabled_at",
        allow_null=True,
    )
    disabled_reason = ReplyField(
        {"type": ["string", "null"], "enum": [*DisabledReason.values, None]},
        lambda endpoint: endpoint.disabled_reason or None,
        "`gone` if its receiver replied 410, `failing` after 50 failures in a row over 24 hours. Else null.",
        source="endpoint",
    )
    former_secret_until = time_field(
        "Until when the former secret signs too, or null.",
        source="endpoint.former_secret_until",
        allow_null=True,
    )
    secret = ReplyField(
        _SECRET,
        str,
        "The secret that signs. Only the replies to its creation and to a rotation have it.",
        required=False,
    )


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class WebhookReplySerializer(Serializer[Any]):
    """The reply with a webhook."""

    success = constant(True)
    data = WebhookSerializer(source="*")  # type: ignore[assignment]


class WebhookListSerializer(Serializer[Any]):
    """All webhooks of the account, the oldest first."""

    webhooks = WebhookSerializer(many=True)


class WebhookListReplySerializer(Serializer[Any]):
    """The reply with all webhooks."""

    success = constant(True)
    data = WebhookListSerializer(source="*")  # type: ignore[assignment]


class SecretSerializer(Serializer[Any]):
    """A secret that signs events."""

    secret = ReplyField(_SECRET, str, "The secret.")
    former_secret_until = time_field(
        "Until when the former secret signs too, or null.",
        source="endpoint.former_secret_until",
        allow_null=True,
    )


class SecretReplySerializer(Serializer[Any]):
    """The reply with the secret."""

    success = constant(True)
    data = SecretSerializer(source="*")  # type: ignore[assignment]


class DeliverySerializer(Serializer[Any]):
    """A delivery: one event for one address. Its body is never stored, and neither is that of a reply."""

    id = IntegerField(source="pk", min_value=1)
    message_id = ReplyField(
        {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
        str,
        "The header `webhook-id`, the same at every attempt and replay.",
    )
    event = choice((*events.SUBSCRIBABLE, events.TEST), source="event_type")
    generation_id = ReplyField(
        {"type": "integer", "minimum": 1},
        lambda key: key,
        "The generation of the event.",
        allow_null=True,
    )
    url = ReplyField(
        {"type": "string"},
        lambda delivery: delivery.url or delivery.endpoint.url,
        "The address that gets it.",
        source="*",
    )
    state = ReplyField(
        {"type": "string", "enum": list(deliveries.State)},
        deliveries.state_of,
        "`failed` after the last attempt. A failed delivery can be sent again.",
        source="*",
    )
    attempts = IntegerField(source="attempt_count", min_value=0, help_text="The attempts that were begun.")
    status = ReplyField(
        {"type": "integer", "minimum": 100},
        lambda status: status,
        "The status of the last reply, or null without one.",
        source="response_status",
        allow_null=True,
    )
    error = ReplyField(
        {"type": ["string", "null"]},
        lambda delivery: delivery.error or None,
        "The kind of the last failure: `status`, `redirect`, `timeout`, `dns`, `connection`, `tls`, `protocol`, "
        "`address_refused`, `internal` or `webhook_disabled`. Null without one.",
        source="*",
    )
    milliseconds = ReplyField(
        {"type": "integer", "minimum": 0},
        lambda count: count,
        "The time of the last attempt.",
        allow_null=True,
    )
    created_at = time_field("When the event happened.")
    attempted_at = time_field("When the last attempt ended, or null.", allow_null=True)
    next_at = time_field("When the next attempt begins, or null.", allow_null=True)


class DeliveryReplySerializer(Serializer[Any]):
    """The reply with a delivery."""

    success = constant(True)
    data = DeliverySerializer(source="*")  # type: ignore[assignment]


class DeliveryListSerializer(Serializer[Any]):
    """A page of the log, newest first."""

    deliveries = DeliverySerializer(many=True)
    next_before = ReplyField(
        {"type": "integer", "minimum": 1},
        lambda delivery_id: delivery_id,
        "The `before` of the next page, or null on the last one.",
        allow_null=True,
    )


class DeliveryListReplySerializer(Serializer[Any]):
    """The reply with a page of the log."""

    success = constant(True)
    data = DeliveryListSerializer(source="*")  # type: ignore[assignment]


class RecoveredSerializer(Serializer[Any]):
    """The result of a recovery."""

    recovered = IntegerField(min_value=0, help_text="The number of deliveries that are sent again.")


class RecoveredReplySerializer(Serializer[Any]):
    """The reply to a recovery."""

    success = constant(True)
    data = RecoveredSerializer(source="*")  # type: ignore[assignment]
