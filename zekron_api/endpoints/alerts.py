"""The endpoint /v1/alerts: what an account wants to be told of its balance and of its keys' spending."""

from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing import alerts
from billing.alert_models import AlertSettings
from billing.grants import Scope
from zekron_api.endpoints.fields import CheckedField, json_type
from zekron_api.endpoints.key_fields import AmountField, refuse_unknown
from zekron_api.endpoints.reply_fields import ReplyField, constant, usd_field
from zekron_api.endpoints.views import ApiView
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body

MAX_EMAIL_CHARACTERS: Final = 254


@extend_schema_field(
    {
        "type": ["array", "null"],
        "items": {"type": "integer", "minimum": 1, "maximum": 100},
        "maxItems": alerts.MAX_PERCENTS,
        "default": list(alerts.DEFAULT_PERCENTS),
    }
)
class PercentsField(CheckedField):
    """Some whole numbers from 1 to 100."""

    def checked(self, value: object) -> list[int]:
        """Return the numbers, or the usual ones if none were sent. Raises InvalidField."""
        if value is None:
            return list(alerts.DEFAULT_PERCENTS)
        message = f"thresholds must be at most {alerts.MAX_PERCENTS} whole numbers from 1 to 100."
        if not isinstance(value, list) or len(value) > alerts.MAX_PERCENTS:
            raise InvalidField("invalid_parameter", message)
        # In Python a boolean is a number.
        if not all(type(each) is int and 1 <= each <= 100 for each in value):
            raise InvalidField("invalid_parameter", message)
        return sorted(set(value))


@extend_schema_field({"type": ["string", "null"], "format": "email", "maxLength": MAX_EMAIL_CHARACTERS})
class EmailField(CheckedField):
    """An address for mail, or nothing."""

    def checked(self, value: object) -> str:
        """Return the address, or an empty text. Raises InvalidField."""
        if value is None:
            return ""
        if not settings.SENDS_MAIL:
            message = "email is not supported, because this service sends no mail. Use a webhook."
            raise InvalidField("unsupported_parameter", message)
        if not isinstance(value, str):
            raise InvalidField("invalid_parameter", f"email must be a string, not {json_type(value)}.")
        try:
            validate_email(value)
        except ValidationError:
            raise InvalidField(
                "invalid_parameter", "email must be one address, such as ada@example.com."
            ) from None
        if len(value) > MAX_EMAIL_CHARACTERS:
            raise InvalidField(
                "invalid_parameter", f"email must have at most {MAX_EMAIL_CHARACTERS} characters."
            )
        return value


@extend_schema_serializer(component_name="PutAlertsRequest")
class PutAlertsSerializer(Serializer[Any]):
    """The body of PUT /v1/alerts, which replaces all settings. An unknown field is refused."""

    low_balance = AmountField(
        required=False, help_text="In USD: the balance below which the account is told. Null: never."
    )
    thresholds = PercentsField(
        required=False,
        help_text="The percentages of a key's `spend_limit` at which the account is told. Empty: never.",
    )
    email = EmailField(
        required=False, help_text="Where alerts are mailed too, if the service sends mail. Null: nowhere."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a field that there is not, because a typing error would tell nothing."""
        refuse_unknown(self)
        return attrs


class AlertsSerializer(Serializer[Any]):
    """The alerts that an account wants."""

    low_balance = usd_field(
        "The balance below which the account is told, or null.", source="low_balance_micros", allow_null=True
    )
    thresholds = ReplyField(
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 100}},
        lambda value: value,
        "The percentages of a key's `spend_limit` at which the account is told.",
        source="key_percents",
    )
    email = ReplyField(
        {"type": ["string", "null"]}, lambda value: value or None, "Where alerts are mailed too, or null."
    )


class AlertsReplySerializer(Serializer[Any]):
    """The reply with the settings."""

    success = constant(True)
    data = AlertsSerializer(source="*")  # type: ignore[assignment]


class AlertsView(ApiView):
    """The endpoints GET and PUT /v1/alerts."""

    http_method_names = [*ApiView.http_method_names, "put"]
    scopes = {"GET": Scope.USAGE, "PUT": Scope.KEYS}

    def get(self, request: Request) -> Response:
        """Return the settings."""
        return _reply(alerts.settings_of(account_id=self.account.pk))

    def put(self, request: Request) -> Response:
        """Replace the settings."""
        fields = read_body(request, PutAlertsSerializer)
        return _reply(
            alerts.put(
                account_id=self.account.pk,
                low_balance_micros=fields["low_balance"],
                percents=fields["thresholds"],
                email=fields["email"],
            )
        )


def _reply(own: AlertSettings) -> Response:
    return Response(AlertsReplySerializer().to_representation(own))
