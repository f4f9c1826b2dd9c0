"""The endpoints below /v1/keys: an account issues, lists, changes, rotates and revokes its API keys."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField, DictField, IntegerField, ListField, Serializer

from billing import grants, key_delegation, key_spending, keys
from billing.grants import Scope
from billing.key_changes import DEFAULT_OVERLAP
from billing.models import ApiKey
from zekron_api.endpoints.key_fields import ChangeKeySerializer, CreateKeySerializer, RotateKeySerializer
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, time_field, usd_field
from zekron_api.endpoints.views import ApiView, read_id
from zekron_api.http import errors
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body

# The API's names of some fields of `Grants`.
_NAMES: Final = {
    "open_limit": "concurrency",
    "spend_limit_micros": "spend_limit",
    "spend_period": "spend_limit",
}

_nullable_time = partial(time_field, allow_null=True)
_texts = partial(ReplyField, {"type": ["array", "null"], "items": {"type": "string"}}, lambda value: value)
_number = partial(ReplyField, {"type": ["integer", "null"], "minimum": 1}, lambda value: value)


class SpendLimitSerializer(Serializer[Any]):
    """The most that a key may have spent and reserved in a period."""

    amount = usd_field("The limit in USD.", source="spend_limit_micros")
    period = choice(ApiKey.SpendPeriod.values, source="spend_period", help_text="The period, in UTC.")


class KeySerializer(Serializer[Any]):
    """An API key, without its text."""

    id = IntegerField(help_text="The id, which a rotation does not change.")
    name = CharField()
    prefix = CharField(help_text="The first twelve characters of the key.")
    last_four = CharField(help_text="The last four characters of the key.")
    status = choice(("live", "expired", "revoked"))
    scopes = ListField(child=choice(grants.Scope))
    expires_at = _nullable_time("When the key stops, or null.")
    allowed_ips = _texts("The networks that may use the key, or null for all.")
    allowed_models = _texts("The models that the key may use, or null for all.")
    requests_per_minute = _number("The key's own limit, or null.")
    concurrency = _number("The key's own limit of open generations, or null.", source="open_limit")
    spend_limit = SpendLimitSerializer(
        allow_null=True, help_text="The limit of what the key spends, or null."
    )
    spent = usd_field(
        "What the key has spent and reserved in the present period of its limit, or in this month without one.",
        source="counted_micros",
    )
    metadata = DictField(child=CharField())
    created_at = time_field()
    last_used_at = _nullable_time("Up to a minute old, or null if the key was never used.")
    former_until = _nullable_time("Until when the key before the rotation is valid too, or null.")
    revoked_at = _nullable_time("When the key was revoked, or null.")


class NewKeySerializer(KeySerializer):
    """An API key with its text, which is shown only once."""

    key = CharField(source="text", help_text="The key. Keep it: the service cannot show it again.")


class KeyListSerializer(Serializer[Any]):
    """The account's keys that are not revoked."""

    keys = KeySerializer(many=True)


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class KeyListReplySerializer(Serializer[Any]):
    """The reply with the account's keys."""

    success = constant(True)
    data = KeyListSerializer(source="*")  # type: ignore[assignment]


class KeyReplySerializer(Serializer[Any]):
    """The reply with a key."""

    success = constant(True)
    data = KeySerializer(source="*")  # type: ignore[assignment]


class NewKeyReplySerializer(Serializer[Any]):
    """The reply with a key and its text."""

    success = constant(True)
    data = NewKeySerializer(source="*")  # type: ignore[assignment]


class _KeyView(ApiView):
    """Base of the views of keys. They count in the account's limit of requests."""

    def handle_exception(self, exc: Exception) -> Response:
        """Name the API's fields in what the domain refuses."""
        if isinstance(exc, key_delegation.NotGranted):
            name = _NAMES.get(exc.field, exc.field)
            exc = errors.MissingScope(f"This API key does not grant as much itself in {name}.")
        elif isinstance(exc, grants.InvalidGrant):
            exc = InvalidField("invalid_parameter", str(exc), field=_NAMES.get(exc.field, exc.field))
        elif isinstance(exc, ApiKey.DoesNotExist | keys.AlreadyRevoked):
            exc = NotFound()
        return super().handle_exception(exc)

    @property
    def holder(self) -> key_delegation.Holder:
        """The key that asks, as `key_delegation` takes it."""
        return key_delegation.Holder(account_id=self.account.pk, key_id=self.caller.key_id)


class KeyListView(_KeyView):
    """The endpoints GET and POST /v1/keys."""

    scopes = {"GET": Scope.KEYS, "POST": Scope.KEYS}

    def get(self, request: Request) -> Response:
        """Return the keys that are not revoked, newest first."""
        found = ApiKey.objects.filter(account_id=self.account.pk, revoked_at__isnull=True).order_by("-id")
        return Response(
            KeyListReplySerializer().to_representation({"keys": [_describe(key) for key in found]})
        )

    def post(self, request: Request) -> Response:
        """Issue a key that grants at most what the key of the request grants."""
        fields = _read(read_body(request, CreateKeySerializer))
        key, text = key_delegation.issue(
            holder=self.holder,
            name=fields.pop("name", ""),
            metadata=fields.pop("metadata", {}),
            changes=fields,
        )
        return _reply_with_text(key, text, status=201)


class KeyView(_KeyView):
    """The endpoints GET, PATCH and DELETE /v1/keys/{key_id}."""

    scopes = {"GET": Scope.KEYS, "PATCH": Scope.KEYS, "DELETE": Scope.KEYS}

    def get(self, request: Request, key_id: str) -> Response:
        """Return one key, also a revoked one."""
        key = ApiKey.objects.get(pk=read_id(key_id), account_id=self.account.pk)
        return Response(KeyReplySerializer().to_representation(_describe(key)))

    def patch(self, request: Request, key_id: str) -> Response:
        """Change what the body names."""
        fields = _read(read_body(request, ChangeKeySerializer))
        key = key_delegation.change(
            holder=self.holder,
            key_id=read_id(key_id),
            name=fields.pop("name", None),
            metadata=fields.pop("metadata", None),
            changes=fields,
        )
        return Response(KeyReplySerializer().to_representation(_describe(key)))

    def delete(self, request: Request, key_id: str) -> HttpResponse:
        """Revoke the key. It may be repeated."""
        key_delegation.revoke(holder=self.holder, key_id=read_id(key_id))
        return HttpResponse(status=204)


class RotateKeyView(_KeyView):
    """The endpoint POST /v1/keys/{key_id}/rotate."""

    scopes = {"POST": Scope.KEYS}

    def post(self, request: Request, key_id: str) -> Response:
        """Give the key a new text. The former one stays valid for the overlap."""
        seconds = read_body(request, RotateKeySerializer, may_be_empty=True)["overlap_seconds"]
        overlap = DEFAULT_OVERLAP if seconds is None else timedelta(seconds=seconds)
        key, text = key_delegation.rotate(holder=self.holder, key_id=read_id(key_id), overlap=overlap)
        return _reply_with_text(key, text, status=200)


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by the names of `Grants`."""
    read = dict(fields)
    if "concurrency" in read:
        read["open_limit"] = read.pop("concurrency")
    spend_limit = read.pop("spend_limit", {})
    return {**read, **spend_limit}


def _reply_with_text(key: ApiKey, text: str, *, status: int) -> Response:
    return Response(
        NewKeyReplySerializer().to_representation({**_describe(key), "text": text}), status=status
    )


def _describe(key: ApiKey) -> dict[str, Any]:
    has_limit, now = key.spend_limit_micros is not None, timezone.now()
    return {
        **{field.attname: getattr(key, field.attname) for field in ApiKey._meta.concrete_fields},
        "status": keys.state_of(key, now=now),
        "spend_limit": key if has_limit else None,
        "counted_micros": key_spending.counted_micros(key, now=now),
        "former_until": key.former_until if key.former_until and key.former_until > now else None,
    }
