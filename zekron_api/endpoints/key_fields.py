"""The fields of requests for API keys."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework.fields import empty
from rest_framework.serializers import Serializer

from billing import bounds, grants, money
from billing.key_changes import DEFAULT_OVERLAP, MAX_OVERLAP
from billing.models import ApiKey
from workers.catalogue import catalogue
from zekron_api.endpoints.fields import CheckedField, NumberField, find_unusable, json_type
from zekron_api.endpoints.list_generations import TimeField
from zekron_api.endpoints.parameter_fields import MetadataField
from zekron_api.http.errors import InvalidField

_AMOUNT: Final = {"anyOf": [{"type": "string", "pattern": r"^\d{1,9}(\.\d{1,4})?$"}, {"type": "number"}]}
_SPEND_LIMIT: Final = {
    "type": ["object", "null"],
    "properties": {
        "amount": {**_AMOUNT, "description": "In USD, with at most four decimal places."},
        "period": {"type": "string", "enum": ApiKey.SpendPeriod.values, "description": "In UTC."},
    },
    "required": ["amount", "period"],
    "additionalProperties": False,
}


@extend_schema_field({"type": "string", "maxLength": grants.MAX_NAME_CHARACTERS, "pattern": r"^[^\u0000]*$"})
class NameField(CheckedField):
    """A name for people."""

    def checked(self, value: object) -> str:
        """Return the name, or an empty one if none was sent. Raises InvalidField."""
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > grants.MAX_NAME_CHARACTERS or find_unusable(value):
            message = (
                f"name must be a string of at most {grants.MAX_NAME_CHARACTERS} characters, without NUL."
            )
            raise InvalidField("invalid_parameter", message)
        return value.strip()


class TextsField(CheckedField):
    """Some different texts, or None for no bound."""

    def __init__(
        self, *, most: int, help_text: str, choices: Iterable[str] = (), nullable: bool = True
    ) -> None:
        super().__init__(required=False, help_text=help_text)
        self._most, self._choices, self._nullable = most, tuple(choices), nullable
        items: dict[str, object] = {"type": "string"}
        if self._choices:
            items["enum"] = list(self._choices)
        kind = ["array", "null"] if nullable else "array"
        set_override(self, "field", {"type": kind, "items": items, "minItems": 1, "maxItems": most})

    def run_validation(self, data: Any = empty) -> Any:
        """Return the checked texts; DRF calls it. What was not sent is no error, and null may be one."""
        return None if data is empty else super().run_validation(data)

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed texts, or none if any text may be one."""
        return self._choices

    def checked(self, value: object) -> tuple[str, ...] | None:
        """Return the texts. Raises InvalidField."""
        name = self.field_name
        if value is None and self._nullable:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidField(
                "invalid_parameter", f"{name} must be an array of strings, not {json_type(value)}."
            )
        if not 1 <= len(value) <= self._most:
            raise InvalidField("invalid_parameter", f"{name} must have 1 to {self._most} items.")
        if self.choices and set(value) - set(self.choices):
            message = f"{name} has an unknown item. Allowed: {', '.join(self.choices)}."
            raise InvalidField("invalid_parameter", message)
        return tuple(dict.fromkeys(value))


class ModelNamesField(TextsField):
    """Names of models, or None. The models file is read when a request names some."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The names in the models file."""
        return tuple(catalogue())


class ExpiryField(TimeField):
    """A time in the future, or None."""

    def checked(self, value: object) -> datetime | None:
        """Return the time in UTC. Raises InvalidField."""
        time = super().checked(value)
        if time is not None and time <= timezone.now():
            raise InvalidField("invalid_parameter", f"{self.field_name} must be in the future.")
        return time


@extend_schema_field(_SPEND_LIMIT)
class SpendLimitField(CheckedField):
    """The most that a key may spend in a period, or None."""

    def checked(self, value: object) -> dict[str, object]:
        """Return the columns of the limit. Raises InvalidField."""
        if value is None:
            return {"spend_limit_micros": None}
        if not isinstance(value, dict) or set(value) != {"amount", "period"}:
            message = "spend_limit must be an object with amount and period, or null."
            raise InvalidField("invalid_parameter", message)
        if value["period"] not in ApiKey.SpendPeriod.values:
            periods = ", ".join(ApiKey.SpendPeriod.values)
            raise InvalidField("invalid_parameter", f"spend_limit.period must be one of: {periods}.")
        return {
            "spend_limit_micros": _micros(value["amount"], name="spend_limit.amount"),
            "spend_period": value["period"],
        }


@extend_schema_field({**_AMOUNT, "type": ["string", "number", "null"]})
class AmountField(CheckedField):
    """An amount in USD over zero, or None."""

    def checked(self, value: object) -> int | None:
        """Return the micros. Raises InvalidField."""
        return None if value is None else _micros(value, name=self.field_name or "")


def _micros(amount: object, *, name: str) -> int:
    is_number = isinstance(amount, int | float) and not isinstance(amount, bool)
    try:
        micros = money.parse_usd(str(amount)) if is_number or isinstance(amount, str) else 0
    except ValueError:
        micros = 0
    if micros <= 0:
        message = f"{name} must be USD over zero with at most four decimal places, such as 25.00."
        raise InvalidField("invalid_parameter", message)
    return micros


def refuse_unknown(body: Serializer[Any]) -> None:
    """Raise InvalidField for a field that the body does not have, because a typing error may open much."""
    sent: Mapping[str, object] = body.initial_data
    if set(sent) - set(body.fields):
        raise InvalidField("invalid_parameter", f"Unknown field. Allowed: {', '.join(body.fields)}.")


class KeyFieldsSerializer(Serializer[Any]):
    """The fields of a key in a request. Its valid data has only what was sent. An unknown field is refused."""

    name = NameField(required=False, help_text="A name for people.")
    scopes = TextsField(
        choices=grants.Scope,
        most=len(grants.Scope),
        nullable=False,
        help_text="What the key may be used for. By default generate, read, delete and usage, as far as your key has "
        "them.",
    )
    expires_at = ExpiryField(help_text="When the key stops, with an offset from UTC. Null: never.")
    allowed_ips = TextsField(
        most=grants.MAX_ADDRESSES,
        help_text="The addresses and networks (CIDR, IPv4 and IPv6) that may use the key. Null: all.",
    )
    allowed_models = ModelNamesField(
        most=grants.MAX_MODELS, help_text="The models that the key may use, of `GET /v1/models`. Null: all."
    )
    requests_per_minute = NumberField(
        least=bounds.MIN_LIMIT,
        most=bounds.MAX_REQUESTS_PER_MINUTE,
        help_text="The most requests in any 60 seconds. They count in the account's limit too. Null: only in that.",
    )
    concurrency = NumberField(
        least=bounds.MIN_LIMIT,
        most=bounds.MAX_OPEN,
        help_text="The most generations, synchronous and asynchronous together, that may be open at once. They count "
        "in the account's limits too. Null: only in those.",
    )
    spend_limit = SpendLimitField(
        required=False,
        help_text="The most that the key may have spent and reserved in a UTC day, in a UTC month or in total. Null: "
        "no limit. A key with one cannot have the scope `keys`.",
    )
    metadata = MetadataField(help_text="Your own names and values, at most 16.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Keep what was sent. Raises InvalidField."""
        refuse_unknown(self)
        return {name: value for name, value in attrs.items() if name in self.initial_data}


@extend_schema_serializer(component_name="CreateKeyRequest")
class CreateKeySerializer(KeyFieldsSerializer):
    """The body of POST /v1/keys. What it leaves out is as for the key that asks. An unknown field is refused."""


@extend_schema_serializer(component_name="ChangeKeyRequest")
class ChangeKeySerializer(KeyFieldsSerializer):
    """The body of PATCH /v1/keys/{id}. What it leaves out stays as it is. An unknown field is refused."""


@extend_schema_serializer(component_name="RotateKeyRequest")
class RotateKeySerializer(Serializer[Any]):
    """The body of POST /v1/keys/{id}/rotate, which may be left out. An unknown field is refused."""

    overlap_seconds = NumberField(
        least=0,
        most=int(MAX_OVERLAP.total_seconds()),
        help_text="The seconds for which the former key stays valid too. Without it they are "
        f"{int(DEFAULT_OVERLAP.total_seconds())}.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a field that there is not. Raises InvalidField."""
        refuse_unknown(self)
        return attrs
