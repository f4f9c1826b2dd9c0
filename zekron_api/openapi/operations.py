"""The operations of the API: the serializers of each, and the errors that it may reply with."""

from functools import partial
from io import BytesIO
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.db import OperationalError
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from billing import card_top_ups, codes, grants
from billing.holds import AccountSuspended
from billing.key_delegation import TooManyKeys
from billing.key_spending import KeySpendLimit
from billing.keys import InvalidKey
from billing.ledger import InsufficientBalance
from billing.stripe_api import StripeUnavailable
from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.imaging.encoders import MIME_TYPES
from workers.lifecycle.admission import ModelLoading, QueueTooLong
from workers.lifecycle.generations import TooManyOpen, TooManyQueued
from workers.lifecycle.idempotency import KeyReused
from workers.lifecycle.partials import PartialsSuspended
from workers.moderation import ContentRefused, ModerationFailed
from workers.usage.queries import TooManyEntries, TooManyRows
from workers.webhooks.endpoints import EndpointDisabled, TooManyEndpoints
from zekron_api.endpoints import (
    alerts,
    api_keys,
    cancel_generation,
    export_usage,
    generate,
    generation_events,
    generation_object,
    generation_response,
    key_fields,
    list_generations,
    list_ledger,
    list_models,
    monthly_statement,
    quote,
    redeem_code,
    reply_serializers,
    serializers,
    top_ups,
    usage,
    verify,
    views,
    watch_generation,
    webhook_serializers,
    webhooks,
)
from zekron_api.http import byte_range, errors, json_body, multipart_form, rate_limit, redemption_limit
from zekron_api.openai import image_response, request_serializers
from zekron_api.openai import views as openai_views
from zekron_api.openapi.error_responses import Cause


class AliveView(APIView):
    """A stand-in for /healthz, which is a plain Django view and so invisible to drf-spectacular."""

    def get(self, request: Request) -> None:
        """Exist, so that drf-spectacular finds the method. It is never called."""


class ReadyView(APIView):
    """A stand-in for /readyz."""

    def get(self, request: Request) -> None:
        """Exist, so that drf-spectacular finds the method. It is never called."""


def add_health(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Add the stand-ins to the endpoints that drf-spectacular found, as its hook."""
    stand_ins = {"/healthz": AliveView, "/readyz": ReadyView}
    return [*endpoints, *((path, path, "GET", view.as_view()) for path, view in stand_ins.items())]


def _generate(**body: object) -> None:
    serializers.GenerateSerializer(data=body).is_valid(raise_exception=True)


def _quote(**body: object) -> None:
    serializers.QuoteSerializer(data=body).is_valid(raise_exception=True)


def _verify(*, is_read: bool = False, **body: object) -> None:
    checked = verify.VerifySerializer(data=body)
    checked.is_valid(raise_exception=True)
    if is_read:
        verify.verify(checked.validated_data["data"])


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


def _create_image(**body: object) -> None:
    request_serializers.CreateImageSerializer(data=body).is_valid(raise_exception=True)


def _edit_image(**body: object) -> None:
    request_serializers.EditImageSerializer(data=body).is_valid(raise_exception=True)


def _webhook(
    kind: type[Serializer[Any]] = webhook_serializers.CreateWebhookSerializer, **body: object
) -> None:
    kind(data=body).is_valid(raise_exception=True)


def _query(kind: type[Serializer[Any]], /, **values: str) -> Cause:
    return partial(kind(data=values).is_valid, raise_exception=True)


def _send_plain_text(*, takes_form: bool = False) -> None:
    headers = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "1",
        "wsgi.input": BytesIO(),
    }
    json_body.check_body(Request(WSGIRequest(headers)), takes_form=takes_form)


def _without_image(kind: type[errors.WithoutImage]) -> Cause:
    return partial(generation_response.error, kind, generation_ids=[42], code="")


class ModelFieldSchema(OpenApiSerializerFieldExtension):
    """The schema of a request's `model`. The models file is read for the document, and not when a process starts."""

    target_class = "zekron_api.endpoints.fields.ModelField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Return the names that the models file has now."""
        return {"type": ["string", "null"], "enum": [*catalogue(), None], "default": DEFAULT_MODEL}


class ImageCountFieldSchema(OpenApiSerializerFieldExtension):
    """The schema of a request's `n`, up to the most that one of the models makes."""

    target_class = "zekron_api.endpoints.fields.ImageCountField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Return the bounds that the models file has now."""
        most = max(model.max_n for model in catalogue().values())
        return {"type": ["integer", "null"], "minimum": 1, "maximum": most, "default": 1}


# The published limits, as the examples of refusals name them.
_TOO_MANY_REQUESTS: Final[Cause] = partial(rate_limit.RateExceeded, rate_limit.Rate(60, 0, 0))
_TOO_MANY_POLLS: Final[Cause] = partial(rate_limit.PollsExceeded, rate_limit.Rate(600, 0, 0))
_TOO_MANY_OPEN: Final[Cause] = partial(TooManyOpen, 5)
_MISSING_SCOPE: Final[Cause] = partial(
    errors.MissingScope, "This request needs an API key with the scope generate."
)
_MODEL_NOT_ALLOWED: Final[Cause] = partial(
    errors.ModelNotAllowed, f"This API key may only use: {DEFAULT_MODEL}."
)
_KEY_SPEND_LIMIT: Final[Cause] = partial(
    KeySpendLimit, "This API key may spend 25.0000 USD this month. Nothing was charged."
)
# The errors of an operation without a key, and the errors of every operation with one.
OPEN: Final[tuple[Cause, ...]] = (
    SuspiciousOperation,
    partial(views.refuse_method, "DELETE", ["GET", "HEAD"]),
    RuntimeError,
)
KEYED: Final[tuple[Cause, ...]] = (
    *OPEN,
    exceptions.NotAuthenticated,
    InvalidKey,
    AccountSuspended,
    errors.AddressNotAllowed,
    _TOO_MANY_REQUESTS,
    OperationalError,
)
# The operations for which a key needs no scope.
WITHOUT_SCOPE: Final = frozenset({"listModels", "getModel", "verify", "createImageVariation"})
# The operations with the limit of polls in place of the limit of requests.
POLLS: Final = frozenset({"getGeneration", "watchGeneration"})
# The errors of a body that describes a generation.
_BODY: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"prompt": '),
    _generate,
    partial(_generate, prompt="x" * 4321),
    partial(_generate, prompt="ab\0"),
    partial(_generate, prompt="x", model="x"),
    partial(_generate, prompt="x", size="1x1"),
    partial(_generate, prompt="x", images=[{}, {}, {}]),
    partial(_generate, prompt="x", images=[{}]),
    partial(_generate, prompt="x", images=[{"data": "AAAA"}]),
    partial(_generate, prompt="x", num_images=4),
    partial(_generate, prompt="x", n=11),
    partial(_generate, prompt="x", image="AAAA"),
    partial(_generate, prompt="x", image_url="https://example.com/a.png"),
    partial(_generate, prompt="x", mask={"data": "AAAA"}),
    partial(_generate, prompt="x", mask_url="https://example.com/a.png"),
    errors.PayloadTooLarge,
    _send_plain_text,
)
_OPENAI: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"prompt": '),
    _create_image,
    partial(_create_image, prompt="x" * 4321),
    partial(_create_image, prompt="ab\0"),
    partial(_create_image, prompt="x", model="x"),
    partial(_create_image, prompt="x", size="1x1"),
    partial(_create_image, prompt="x", n=11),
    partial(_create_image, prompt="x", background="transparent"),
    partial(_create_image, prompt="x", frame_count=4),
    partial(_create_image, prompt="x", partial_images=1),
    errors.PayloadTooLarge,
    errors.InvalidIdempotencyKey,
    InsufficientBalance,
    _KEY_SPEND_LIMIT,
    _MODEL_NOT_ALLOWED,
    KeyReused,
    _TOO_MANY_OPEN,
    errors.TooManyStreams,
    _without_image(errors.GenerationFailed),
    _without_image(errors.ImageUnreachable),
    _without_image(errors.StateUnavailable),
    partial(QueueTooLong, 10),
    partial(ModelLoading, 30),
    _without_image(errors.ServiceBusy),
    _without_image(errors.GenerationTimeout),
    _without_image(errors.GenerationCancelled),
    PartialsSuspended,
    partial(ContentRefused, "unnamed"),
    ModerationFailed,
    _without_image(errors.PictureRefused),
    errors.ImageExpired,
)
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
    _send_plain_text,
)
# Ranges of times that an endpoint refuses.
_YEARS: Final = {"from": "2023-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
_BACKWARDS: Final = {"from": "2026-11-28T00:00:00Z", "to": "2026-11-27T00:00:00Z"}
# The errors of a JSON body of any operation.
_JSON: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"url": '),
    errors.PayloadTooLarge,
    _send_plain_text,
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
    "generate": (
        *_BODY,
        errors.InvalidIdempotencyKey,
        InsufficientBalance,
        _KEY_SPEND_LIMIT,
        _MODEL_NOT_ALLOWED,
        KeyReused,
        _TOO_MANY_OPEN,
        partial(TooManyQueued, 100),
        partial(_generate, prompt="x", queue_ttl=1),
        _without_image(errors.GenerationFailed),
        _without_image(errors.ImageUnreachable),
        _without_image(errors.StateUnavailable),
        partial(QueueTooLong, 10),
        partial(ModelLoading, 30),
        _without_image(errors.ServiceBusy),
        _without_image(errors.GenerationTimeout),
        _without_image(errors.GenerationCancelled),
        _without_image(errors.QueueTtlExceeded),
        PartialsSuspended,
        partial(ContentRefused, "unnamed"),
        ModerationFailed,
        _without_image(errors.PictureRefused),
        errors.ImageExpired,
        _query(generation_events.EventsSerializer, include="url"),
        errors.TooManyStreams,
    ),
    "quote": (
        *_BODY,
        _MODEL_NOT_ALLOWED,
        partial(_quote, prompt="x", images=3),
        partial(_quote, prompt="x", images=-1),
    ),
    "verify": (
        partial(json_body.parse_object, b'{"data": '),
        _verify,
        partial(_verify, data="AAAA", is_read=True),
        errors.PayloadTooLarge,
        _send_plain_text,
    ),
    "redeemCode": (
        partial(json_body.parse_object, b'{"code": '),
        _redeem,
        partial(codes.InvalidCode, codes.INVALID),
        partial(redemption_limit.FailuresExceeded, rate_limit.Rate(10, 0, 0)),
        errors.PayloadTooLarge,
        _send_plain_text,
    ),
    "createTopUp": (
        partial(json_body.parse_object, b'{"amount": '),
        _top_up,
        partial(card_top_ups.AmountOutOfBounds, "amount must be from 5.00 to 500.00 USD, in whole cents."),
        errors.PayloadTooLarge,
        _send_plain_text,
        exceptions.NotFound,
        StripeUnavailable,
    ),
    "listTopUps": (exceptions.NotFound,),
    "getTopUp": (exceptions.NotFound,),
    "getModel": (partial(list_models.find, "x"),),
    "createImage": (*_OPENAI, _send_plain_text),
    "editImage": (
        *_OPENAI,
        partial(_send_plain_text, takes_form=True),
        partial(multipart_form.parse_form, b"--", boundary=b"x"),
        partial(_edit_image, prompt="x"),
        partial(_edit_image, prompt="x", images=[{}] * 3),
        partial(_edit_image, prompt="x", images=[{"image_url": "data:image/png;base64,A"}]),
        partial(_edit_image, prompt="x", images=[b"AAAA"]),
        partial(_edit_image, prompt="x", images=[{"image_url": "https://example.com/a.png"}]),
        partial(_edit_image, prompt="x", images=[{"file_id": "file-1"}]),
        partial(_edit_image, prompt="x", mask=7),
    ),
    "createImageVariation": (openai_views.refuse_variation,),
    "getImage": (
        exceptions.PermissionDenied,
        exceptions.NotFound,
        errors.ImageExpired,
        errors.PreconditionFailed,
        partial(byte_range.RangeNotSatisfiable, byte_count=1_572_864),
    ),
    "getGeneration": (
        exceptions.NotFound,
        _query(watch_generation.PollSerializer, wait="-1"),
        _query(watch_generation.PollSerializer, include="url"),
        _without_image(errors.ImageUnreachable),
    ),
    "watchGeneration": (
        exceptions.NotFound,
        _query(generation_events.EventsSerializer, include="url"),
        errors.TooManyStreams,
    ),
    "putAlerts": (
        partial(json_body.parse_object, b'{"low_balance": '),
        partial(_alerts, threshold=[80]),
        partial(_alerts, low_balance="-1"),
        partial(_alerts, thresholds=[0]),
        partial(_alerts, email=7),
        errors.PayloadTooLarge,
        _send_plain_text,
    ),
    "createKey": (*_KEY_BODY, TooManyKeys),
    "getKey": (exceptions.NotFound,),
    "changeKey": (*_KEY_BODY, exceptions.NotFound),
    "revokeKey": (exceptions.NotFound,),
    "rotateKey": (
        partial(json_body.parse_object, b'{"overlap_seconds": '),
        partial(_rotate_key, overlap_seconds=-1),
        errors.PayloadTooLarge,
        _send_plain_text,
        exceptions.NotFound,
    ),
    "cancelGeneration": (exceptions.NotFound, errors.AlreadyEnded),
    "deleteGeneration": (exceptions.NotFound, errors.StillOpen),
    "deleteImage": (exceptions.PermissionDenied, exceptions.NotFound),
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
        _query(webhook_serializers.DeliveryPageSerializer, limit="0"),
        _query(webhook_serializers.DeliveryPageSerializer, before="0"),
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
    "listGenerations": (
        _query(list_generations.PageSerializer, limit="0"),
        _query(list_generations.PageSerializer, status="done"),
        _query(list_generations.PageSerializer, type="video"),
        _query(list_generations.PageSerializer, model="x"),
        _query(list_generations.PageSerializer, since="yesterday"),
        _query(list_generations.PageSerializer, since="2026-11-28T00:00:00Z", until="2026-11-27T00:00:00Z"),
        _query(list_generations.PageSerializer, before="43", offset="20"),
        _query(list_generations.PageSerializer, status="failed", offset="20"),
    ),
    "getUsage": (
        _query(usage.UsageQuerySerializer, to="yesterday"),
        _query(usage.UsageQuerySerializer, to="2026-11-27T12:30:00Z"),
        _query(usage.UsageQuerySerializer, bucket="week"),
        _query(usage.UsageQuerySerializer, group_by="colour"),
        _query(usage.UsageQuerySerializer, **_YEARS),
        _query(usage.UsageQuerySerializer, **_BACKWARDS),
        partial(usage.refuse, TooManyRows()),
        partial(usage.refuse, TooManyEntries()),
    ),
    "exportUsage": (
        _query(export_usage.ExportQuerySerializer, to="yesterday"),
        _query(export_usage.ExportQuerySerializer, format="xlsx"),
        _query(export_usage.ExportQuerySerializer, after="0"),
        _query(export_usage.ExportQuerySerializer, **_YEARS),
        _query(export_usage.ExportQuerySerializer, **_BACKWARDS),
    ),
    "listLedger": (
        _query(list_ledger.LedgerQuerySerializer, limit="0"),
        _query(list_ledger.LedgerQuerySerializer, kind="gift"),
        _query(list_ledger.LedgerQuerySerializer, to="yesterday"),
        _query(list_ledger.LedgerQuerySerializer, **_BACKWARDS),
    ),
    "getStatement": (
        exceptions.NotFound,
        partial(monthly_statement.read_month, "march"),
        monthly_statement.refuse_open_month,
        _query(monthly_statement.StatementQuerySerializer, format="pdf"),
    ),
}


def causes_of(operation_id: str, *, needs_key: bool) -> tuple[Cause, ...]:
    """Return the errors of an operation."""
    common: tuple[Cause, ...] = KEYED if needs_key else OPEN
    if needs_key and operation_id not in WITHOUT_SCOPE:
        common = (*common, _MISSING_SCOPE)
    if operation_id in POLLS:
        common = tuple(_TOO_MANY_POLLS if cause is _TOO_MANY_REQUESTS else cause for cause in common)
    return (*common, *CAUSES.get(operation_id, ()))


# drf-spectacular attaches these to the methods of the views.
extend_schema(
    "generate",
    parameters=[generation_events.EventsSerializer],
    request=serializers.GenerateSerializer,
    responses={
        200: reply_serializers.GenerateReplySerializer,
        (200, "text/event-stream"): OpenApiTypes.STR,
        202: generation_object.GenerationReplySerializer,
        204: None,
    },
)(generate.GenerateView.post)
extend_schema("quote", request=serializers.QuoteSerializer, responses={200: quote.QuoteReplySerializer})(
    quote.QuoteView.post
)
extend_schema("verify", request=verify.VerifySerializer, responses={200: verify.VerifyReplySerializer})(
    verify.VerifyView.post
)
extend_schema("listModels", responses={200: list_models.ModelListSerializer})(list_models.ModelListView.get)
extend_schema(
    "createImage",
    request=request_serializers.CreateImageSerializer,
    responses={
        200: image_response.ImagesReplySerializer,
        (200, "text/event-stream"): OpenApiTypes.STR,
    },
)(openai_views.CreateImageView.post)
extend_schema(
    "editImage",
    request={
        "application/json": request_serializers.EditImageSerializer,
        "multipart/form-data": request_serializers.EditImageFormSerializer,
    },
    responses={
        200: image_response.ImagesReplySerializer,
        (200, "text/event-stream"): OpenApiTypes.STR,
    },
)(openai_views.EditImageView.post)
extend_schema("createImageVariation", request=None, responses={})(openai_views.VariationView.post)
extend_schema("getModel", responses={200: list_models.ModelSerializer})(list_models.ModelView.get)
extend_schema(
    "getImage",
    responses={
        **{(status, mime_type): OpenApiTypes.BINARY for status in (200, 206) for mime_type in MIME_TYPES},
        304: None,
    },
)(views.ImageView.get)
extend_schema(
    "redeemCode",
    request=redeem_code.RedemptionRequestSerializer,
    responses={200: redeem_code.RedemptionReplySerializer},
)(redeem_code.RedemptionView.post)
extend_schema(
    "createTopUp",
    request=top_ups.TopUpRequestSerializer,
    responses={201: top_ups.TopUpReplySerializer},
)(top_ups.TopUpsView.post)
extend_schema("listTopUps", responses={200: top_ups.TopUpListReplySerializer})(top_ups.TopUpsView.get)
extend_schema("getTopUp", responses={200: top_ups.TopUpReplySerializer})(top_ups.TopUpView.get)
extend_schema("getBalance", responses=reply_serializers.BalanceReplySerializer)(views.BalanceView.get)
extend_schema(
    "listGenerations",
    parameters=[list_generations.PageSerializer],
    responses={200: reply_serializers.HistoryReplySerializer},
)(list_generations.HistoryView.get)
extend_schema(
    "getUsage", parameters=[usage.UsageQuerySerializer], responses={200: usage.UsageReplySerializer}
)(usage.UsageView.get)
extend_schema(
    "exportUsage",
    parameters=[export_usage.ExportQuerySerializer],
    responses={(200, media_type): OpenApiTypes.STR for media_type in ("text/csv", "application/jsonl")},
)(export_usage.ExportView.get)
extend_schema(
    "listLedger",
    parameters=[list_ledger.LedgerQuerySerializer],
    responses={200: list_ledger.LedgerReplySerializer},
)(list_ledger.LedgerView.get)
extend_schema(
    "getStatement",
    parameters=[monthly_statement.StatementQuerySerializer],
    responses={(200, media_type): OpenApiTypes.STR for media_type in ("text/html", "text/csv")},
)(monthly_statement.StatementView.get)
extend_schema(
    "getGeneration",
    parameters=[watch_generation.PollSerializer],
    responses={200: generation_object.GenerationReplySerializer},
)(watch_generation.GenerationView.get)
extend_schema(
    "watchGeneration",
    parameters=[generation_events.EventsSerializer],
    responses={(200, "text/event-stream"): OpenApiTypes.STR, 204: None},
)(watch_generation.EventsView.get)
extend_schema(
    "cancelGeneration",
    request=None,
    responses={
        200: generation_object.GenerationReplySerializer,
        202: generation_object.GenerationReplySerializer,
    },
)(cancel_generation.CancelView.post)
extend_schema("deleteGeneration", responses={204: None})(watch_generation.GenerationView.delete)
extend_schema("deleteImage", responses={204: None})(views.ImageView.delete)
extend_schema("getAlerts", responses={200: alerts.AlertsReplySerializer})(alerts.AlertsView.get)
extend_schema("putAlerts", request=alerts.PutAlertsSerializer, responses={200: alerts.AlertsReplySerializer})(
    alerts.AlertsView.put
)
extend_schema("listKeys", responses={200: api_keys.KeyListReplySerializer})(api_keys.KeyListView.get)
extend_schema(
    "createKey",
    request=key_fields.CreateKeySerializer,
    responses={201: api_keys.NewKeyReplySerializer},
)(api_keys.KeyListView.post)
extend_schema("getKey", responses={200: api_keys.KeyReplySerializer})(api_keys.KeyView.get)
extend_schema(
    "changeKey", request=key_fields.ChangeKeySerializer, responses={200: api_keys.KeyReplySerializer}
)(api_keys.KeyView.patch)
extend_schema("revokeKey", responses={204: None})(api_keys.KeyView.delete)
extend_schema(
    "rotateKey",
    request=key_fields.RotateKeySerializer,
    responses={200: api_keys.NewKeyReplySerializer},
)(api_keys.RotateKeyView.post)
extend_schema("listWebhooks", responses={200: webhook_serializers.WebhookListReplySerializer})(
    webhooks.WebhooksView.get
)
extend_schema(
    "createWebhook",
    request=webhook_serializers.CreateWebhookSerializer,
    responses={201: webhook_serializers.WebhookReplySerializer},
)(webhooks.WebhooksView.post)
extend_schema("getWebhook", responses={200: webhook_serializers.WebhookReplySerializer})(
    webhooks.WebhookView.get
)
extend_schema(
    "changeWebhook",
    request=webhook_serializers.ChangeWebhookSerializer,
    responses={200: webhook_serializers.WebhookReplySerializer},
)(webhooks.WebhookView.patch)
extend_schema("deleteWebhook", responses={204: None})(webhooks.WebhookView.delete)
extend_schema("getWebhookSecret", responses={200: webhook_serializers.SecretReplySerializer})(
    webhooks.SecretView.get
)
extend_schema(
    "rotateWebhookSecret",
    request=webhook_serializers.RotateSerializer,
    responses={200: webhook_serializers.SecretReplySerializer},
)(webhooks.RotateView.post)
extend_schema("testWebhook", request=None, responses={202: webhook_serializers.DeliveryReplySerializer})(
    webhooks.TestView.post
)
extend_schema(
    "listDeliveries",
    parameters=[webhook_serializers.DeliveryPageSerializer],
    responses={200: webhook_serializers.DeliveryListReplySerializer},
)(webhooks.DeliveriesView.get)
extend_schema("replayDelivery", request=None, responses={202: webhook_serializers.DeliveryReplySerializer})(
    webhooks.ReplayView.post
)
extend_schema(
    "recoverDeliveries",
    request=webhook_serializers.RecoverSerializer,
    responses={202: webhook_serializers.RecoveredReplySerializer},
)(webhooks.RecoverView.post)
extend_schema("isAlive", responses=reply_serializers.AliveSerializer)(AliveView.get)
extend_schema(
    "isReady", responses={200: reply_serializers.ReadySerializer, 503: reply_serializers.NotReadySerializer}
)(ReadyView.get)
