"""The errors of the operations by which an account runs itself: keys, webhooks, alerts, money and usage."""

from functools import partial
from typing import Any, Final

from rest_framework import exceptions
from rest_framework.serializers import Serializer

from billing import card_top_ups, codes, grants
from billing.key_delegation import TooManyKeys
from billing.stripe_api import StripeUnavailable
from workers.usage.queries import TooManyEntries, TooManyRows
from workers.webhooks.endpoints import EndpointDisabled, TooManyEndpoints
from zekron_api.endpoints import (
    alerts,
    export_usage,
    key_fields,
    list_ledger,
    monthly_statement,
    redeem_code,
    top_ups,
    usage,
    webhook_serializers,
)
from zekron_api.http import errors, json_body, rate_limit, redemption_limit
from zekron_api.openapi.error_responses import Cause
from zekron_api.openapi.request_causes import query, send_plain_text


def _alerts(**body: object) -> None:
    alerts.PutAlertsSerializer(data=body).is_valid(raise_exception=True)


def _key(**body: object) -> None:
    key_fields.CreateKeySerializer(data=body).is_valid(raise_exception=True)


def _rotate_key(**body: object) -> None:
    key_fields.RotateKeySerializer(data=body).is_valid(raise_exception=True)


def _redeem(**body: object) -> None:
    redeem_code.RedemptionRequestSerializer(data=body).is_valid(raise_exception=True)


def _top_up(**body: object) -> None:
    top_ups.TopUpRequestSerializer(data=body).is_valid(raise_exception=True)


def _webhook(
    kind: type[Serializer[Any]] = webhook_serializers.CreateWebhookSerializer, **body: object
) -> None:
    kind(data=body).is_valid(raise_exception=True)


# The errors of a body that describes a key.
_KEY_BODY: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"name": '),
    partial(_key, scope="read"),
    partial(_key, name=7),
    partial(_key, scopes=["admin"]),
    partial(_key, expires_at="2020-01-01T00:00:00Z"),
    partial(_key, allowed_ips=[]),
    partial(_key, allowed_models=["x"]),
    partial(_key, spend_limit=25),
    partial(_key, spend_limit={"amount": "25.00", "period": "week"}),
    partial(_key, spend_limit={"amount": "0", "period": "day"}),
    partial(_key, concurrency=0),
    partial(grants.check, grants.Grants(allowed_ips=("localhost",))),
    partial(errors.MissingScope, "This API key does not grant as much itself in scopes."),
    errors.PayloadTooLarge,
    send_plain_text,
)

# Ranges of times that an endpoint refuses.
_YEARS: Final = {"from": "2023-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}

_BACKWARDS: Final = {"from": "2026-11-28T00:00:00Z", "to": "2026-11-27T00:00:00Z"}

# The errors of a JSON body of any operation.
_JSON: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"url": '),
    errors.PayloadTooLarge,
    send_plain_text,
)

_WEBHOOK: Final[tuple[Cause, ...]] = (
    *_JSON,
    partial(_webhook, url="http://hooks.example.com/"),
    partial(_webhook, url="https://10.0.0.1/"),
    partial(_webhook, url="https://8.8.8.8/", events=["generation.exploded"]),
    partial(_webhook, url="https://8.8.8.8/", enabled="yes"),
)
# The errors of one operation, by its operationId.
CAUSES: Final[dict[str, tuple[Cause, ...]]] = {
    "redeemCode": (
        partial(json_body.parse_object, b'{"code": '),
        _redeem,
        partial(codes.InvalidCode, codes.INVALID),
        partial(redemption_limit.FailuresExceeded, rate_limit.Rate(10, 0, 0)),
        errors.PayloadTooLarge,
        send_plain_text,
    ),
    "createTopUp": (
        partial(json_body.parse_object, b'{"amount": '),
        _top_up,
        partial(card_top_ups.AmountOutOfBounds, "amount must be from 5.00 to 500.00 USD, in whole cents."),
        errors.PayloadTooLarge,
        send_plain_text,
        exceptions.NotFound,
        card_top_ups.TooManyPending,
        StripeUnavailable,
    ),
    "listTopUps": (exceptions.NotFound,),
    "getTopUp": (exceptions.NotFound,),
    "putAlerts": (
        partial(json_body.parse_object, b'{"low_balance": '),
        partial(_alerts, threshold=[80]),
        partial(_alerts, low_balance="-1"),
        partial(_alerts, thresholds=[0]),
        partial(_alerts, email=7),
        errors.PayloadTooLarge,
        send_plain_text,
    ),
    "createKey": (*_KEY_BODY, TooManyKeys),
    "getKey": (exceptions.NotFound,),
    "changeKey": (*_KEY_BODY, exceptions.NotFound),
    "revokeKey": (exceptions.NotFound,),
    "rotateKey": (
        partial(json_body.parse_object, b'{"overlap_seconds": '),
        partial(_rotate_key, overlap_seconds=-1),
        errors.PayloadTooLarge,
        send_plain_text,
        exceptions.NotFound,
    ),
    "createWebhook": (*_WEBHOOK, _webhook, TooManyEndpoints),
    "getWebhook": (exceptions.NotFound,),
    "changeWebhook": (*_WEBHOOK, exceptions.NotFound),
    "deleteWebhook": (exceptions.NotFound,),
    "rotateWebhookSecret": (
        *_JSON,
        exceptions.NotFound,
        partial(_webhook, webhook_serializers.RotateSerializer, overlap_seconds=-1),
    ),
    "testWebhook": (exceptions.NotFound, EndpointDisabled),
    "listDeliveries": (
        exceptions.NotFound,
        query(webhook_serializers.DeliveryPageSerializer, limit="0"),
        query(webhook_serializers.DeliveryPageSerializer, before="0"),
    ),
    "replayDelivery": (exceptions.NotFound, EndpointDisabled),
    "recoverDeliveries": (
        *_JSON,
        exceptions.NotFound,
        EndpointDisabled,
        partial(_webhook, webhook_serializers.RecoverSerializer),
        partial(
            _webhook,
            webhook_serializers.RecoverSerializer,
            since="2026-11-28T00:00:00Z",
            until="2026-11-27T00:00:00Z",
        ),
    ),
    "getUsage": (
        query(usage.UsageQuerySerializer, to="yesterday"),
        query(usage.UsageQuerySerializer, to="2026-11-27T12:30:00Z"),
        query(usage.UsageQuerySerializer, bucket="week"),
        query(usage.UsageQuerySerializer, group_by="colour"),
        query(usage.UsageQuerySerializer, **_YEARS),
        query(usage.UsageQuerySerializer, **_BACKWARDS),
        partial(usage.refuse, TooManyRows()),
        partial(usage.refuse, TooManyEntries()),
    ),
    "exportUsage": (
        query(export_usage.ExportQuerySerializer, to="yesterday"),
        query(export_usage.ExportQuerySerializer, format="xlsx"),
        query(export_usage.ExportQuerySerializer, after="0"),
        query(export_usage.ExportQuerySerializer, **_YEARS),
        query(export_usage.ExportQuerySerializer, **_BACKWARDS),
    ),
    "listLedger": (
        query(list_ledger.LedgerQuerySerializer, limit="0"),
        query(list_ledger.LedgerQuerySerializer, kind="gift"),
        query(list_ledger.LedgerQuerySerializer, to="yesterday"),
        query(list_ledger.LedgerQuerySerializer, **_BACKWARDS),
    ),
    "getStatement": (
        exceptions.NotFound,
        partial(monthly_statement.read_month, "march"),
        monthly_statement.refuse_open_month,
        query(monthly_statement.StatementQuerySerializer, format="pdf"),
    ),
}
