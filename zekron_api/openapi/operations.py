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

from billing.holds import AccountSuspended
from billing.keys import InvalidKey
from billing.ledger import InsufficientBalance
from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.imaging.encoders import MIME_TYPES
from workers.lifecycle.admission import ModelLoading, QueueTooLong
from workers.lifecycle.generations import TooManyOpen, TooManyQueued
from workers.lifecycle.idempotency import KeyReused
from workers.lifecycle.partials import PartialsSuspended
from workers.moderation import ContentRefused, ModerationFailed
from workers.webhooks.endpoints import EndpointDisabled, TooManyEndpoints
from zekron_api.endpoints import (
    cancel_generation,
    generate,
    generation_events,
    generation_object,
    generation_response,
    list_generations,
    list_models,
    quote,
    reply_serializers,
    serializers,
    verify,
    views,
    watch_generation,
    webhook_serializers,
    webhooks,
)
from zekron_api.http import byte_range, errors, json_body, multipart_form, rate_limit
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


def _create_image(**body: object) -> None:
    request_serializers.CreateImageSerializer(data=body).is_valid(raise_exception=True)


def _edit_image(**body: object) -> None:
    request_serializers.EditImageSerializer(data=body).is_valid(raise_exception=True)


def _webhook(
    kind: type[Serializer[Any]] = webhook_serializers.CreateWebhookSerializer, **body: object
) -> None:
    kind(data=body).is_valid(raise_exception=True)


def _query(kind: type[Serializer[Any]], **values: str) -> Cause:
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
    _TOO_MANY_REQUESTS,
    OperationalError,
)
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
    "quote": (*_BODY, partial(_quote, prompt="x", images=3), partial(_quote, prompt="x", images=-1)),
    "verify": (
        partial(json_body.parse_object, b'{"data": '),
        _verify,
        partial(_verify, data="AAAA", is_read=True),
        errors.PayloadTooLarge,
        _send_plain_text,
    ),
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
}


def causes_of(operation_id: str, *, needs_key: bool) -> tuple[Cause, ...]:
    """Return the errors of an operation."""
    common: tuple[Cause, ...] = KEYED if needs_key else OPEN
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
extend_schema("getBalance", responses=reply_serializers.BalanceReplySerializer)(views.BalanceView.get)
extend_schema(
    "listGenerations",
    parameters=[list_generations.PageSerializer],
    responses={200: reply_serializers.HistoryReplySerializer},
)(list_generations.HistoryView.get)
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
