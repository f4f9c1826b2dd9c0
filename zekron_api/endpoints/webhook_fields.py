"""The fields of requests that tell of webhooks: addresses, events, and a description."""

from typing import Final

from drf_spectacular.utils import extend_schema_field

from workers.webhook_models import MAX_DESCRIPTION_CHARACTERS, MAX_URL_CHARACTERS
from workers.webhooks import addresses, events
from zekron_api.endpoints.fields import CheckedField, check_text, json_type
from zekron_api.http.errors import InvalidField

_URL: Final[dict[str, object]] = {
    "type": ["string", "null"],
    "format": "uri",
    "pattern": "^https://",
    "maxLength": MAX_URL_CHARACTERS,
}
_EVENTS: Final[dict[str, object]] = {
    "type": ["array", "null"],
    "items": {"type": "string", "enum": list(events.SUBSCRIBABLE)},
    "minItems": 1,
    "default": list(events.DEFAULT),
}
_DESCRIPTION: Final[dict[str, object]] = {
    "type": ["string", "null"],
    "maxLength": MAX_DESCRIPTION_CHARACTERS,
    "pattern": r"^[^\u0000]*$",
}


@extend_schema_field(_URL)
class WebhookUrlField(CheckedField):
    """An address that webhooks may call, or nothing."""

    def checked(self, value: object) -> str | None:
        """Return the address. Raises InvalidField."""
        if value is None:
            return None
        if not isinstance(value, str):
            message = f"{self.field_name} must be a string, not {json_type(value)}."
            raise InvalidField("invalid_parameter", message)
        try:
            addresses.refuse_now(value)
        except addresses.RefusedUrl as refusal:
            raise InvalidField("invalid_parameter", f"{self.field_name} {refusal}") from None
        return value


@extend_schema_field({**_URL, "type": "string"})
class RequiredWebhookUrlField(WebhookUrlField):
    """An address that webhooks may call."""

    def checked(self, value: object) -> str:
        """Return the address. Raises InvalidField."""
        url = super().checked(value)
        if url is None:
            raise InvalidField(
                "invalid_parameter", f"{self.field_name} is required. It must be an https:// URL."
            )
        return url


@extend_schema_field(_EVENTS)
class EventsField(CheckedField):
    """The events that a webhook gets, or nothing."""

    def checked(self, value: object) -> list[str] | None:
        """Return the names in the order of the service, each once. Raises InvalidField."""
        if value is None:
            return None
        if not isinstance(value, list) or not value:
            message = f"{self.field_name} must be an array with at least one event."
            raise InvalidField("invalid_parameter", f"{message} Allowed: {', '.join(events.SUBSCRIBABLE)}.")
        if not all(isinstance(each, str) and each in events.SUBSCRIBABLE for each in value):
            message = f"{self.field_name} has an unknown event. Allowed: {', '.join(events.SUBSCRIBABLE)}."
            raise InvalidField("invalid_parameter", message)
        return [name for name in events.SUBSCRIBABLE if name in value]


@extend_schema_field(_DESCRIPTION)
class DescriptionField(CheckedField):
    """A text for people, or nothing."""

    def checked(self, value: object) -> str | None:
        """Return the text. Raises InvalidField."""
        if value is None:
            return None
        return check_text(value, name=self.field_name or "", most=MAX_DESCRIPTION_CHARACTERS)
