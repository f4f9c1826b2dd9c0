"""The operations of the API: the serializers of each, and the errors that it may reply with."""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.imaging.encoders import MIME_TYPES
from zekron_api.endpoints import (
    alerts,
    api_keys,
    cancel_generation,
    export_usage,
    generate,
    generation_events,
    generation_object,
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
from zekron_api.openai import image_response, request_serializers
from zekron_api.openai import views as openai_views
from zekron_api.openapi import account_causes, image_causes
from zekron_api.openapi.error_responses import Cause
from zekron_api.openapi.request_causes import common_causes
from zekron_api.ops import health

# The errors of the operations that are no client's.
_OF_SERVICE: Final[dict[str, tuple[Cause, ...]]] = {"isReady": (health.unknown_role,)}


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


def causes_of(operation_id: str, *, needs_key: bool) -> tuple[Cause, ...]:
    """Return the errors of an operation."""
    own = (image_causes.CAUSES | account_causes.CAUSES | _OF_SERVICE).get(operation_id, ())
    return (*common_causes(operation_id, needs_key=needs_key), *own)


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
    "isReady",
    parameters=[
        OpenApiParameter(
            health.ROLE,
            enum=list(health.NEEDED_BY),
            description="The role whose readiness is asked for. Without it, it is that of the whole service.",
        )
    ],
    responses={200: reply_serializers.ReadySerializer, 503: reply_serializers.NotReadySerializer},
)(ReadyView.get)
