"""The endpoints of webhooks: those of the account, their secrets, their log, and what sends an event again."""

from typing import Any, Final

from django.http import HttpResponse
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from billing.grants import Scope
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import deliveries, endpoints, events
from zekron_api.endpoints import webhook_serializers as serializers
from zekron_api.endpoints.views import ApiView, read_id
from zekron_api.http.json_body import read_body

# In place of an id it stands for the account's default secret, and for the addresses that requests name.
DEFAULT: Final = "secret"
# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_WEBHOOK: Final = serializers.WebhookReplySerializer()
_WEBHOOKS: Final = serializers.WebhookListReplySerializer()
_SECRET: Final = serializers.SecretReplySerializer()
_DELIVERY: Final = serializers.DeliveryReplySerializer()
_DELIVERIES: Final = serializers.DeliveryListReplySerializer()
_RECOVERED: Final = serializers.RecoveredReplySerializer()
# The names of the request's fields, and the columns that they change.
_COLUMNS: Final = {
    "url": "url",
    "events": "events",
    "enabled": "is_enabled",
    "include_prompt": "include_prompt",
    "description": "description",
}


class WebhookApiView(ApiView):
    """Base of the views of webhooks. A foreign id is not found, because ids are counted up."""

    scopes = dict.fromkeys(("GET", "POST", "PATCH", "DELETE"), Scope.WEBHOOKS)

    def find(self, webhook_id: str) -> WebhookEndpoint:
        """Return the account's webhook of this id."""
        try:
            return endpoints.of_account(self.account.pk).get(pk=read_id(webhook_id))
        except WebhookEndpoint.DoesNotExist:
            raise exceptions.NotFound from None

    def find_or_default(self, webhook_id: str) -> WebhookEndpoint:
        """Return the account's webhook of this id, or its default endpoint."""
        if webhook_id == DEFAULT:
            return endpoints.default_of(account_id=self.account.pk)
        return self.find(webhook_id)


class WebhooksView(WebhookApiView):
    """The endpoints GET and POST /v1/webhooks."""

    def get(self, request: Request) -> Response:
        """Return all webhooks of the account."""
        mine = [_plain(endpoint) for endpoint in endpoints.of_account(self.account.pk)]
        return Response(_WEBHOOKS.to_representation({"webhooks": mine}))

    def post(self, request: Request) -> Response:
        """Create a webhook, and show its secret for the only time."""
        sent = read_body(request, serializers.CreateWebhookSerializer)
        made = endpoints.create(
            account_id=self.account.pk,
            url=sent["url"],
            subscribed=sent["events"] or events.DEFAULT,
            is_enabled=sent["enabled"] is not False,
            include_prompt=sent["include_prompt"] is True,
            description=sent["description"] or "",
        )
        return Response(_WEBHOOK.to_representation(_shown(made)), status=201)


class WebhookView(WebhookApiView):
    """The endpoints GET, PATCH and DELETE /v1/webhooks/{id}."""

    def get(self, request: Request, webhook_id: str) -> Response:
        """Return the webhook."""
        return Response(_WEBHOOK.to_representation(_plain(self.find(webhook_id))))

    def patch(self, request: Request, webhook_id: str) -> Response:
        """Change the webhook. Enabled again, it starts without failures."""
        endpoint = self.find(webhook_id)
        sent = read_body(request, serializers.ChangeWebhookSerializer)
        changes = {column: sent[name] for name, column in _COLUMNS.items() if sent[name] is not None}
        if changes:
            endpoints.change(endpoint_id=endpoint.pk, changes=changes)
        return Response(_WEBHOOK.to_representation(_plain(self.find(webhook_id))))

    def delete(self, request: Request, webhook_id: str) -> HttpResponse:
        """Delete the webhook, its secrets, and what waits for it."""
        endpoints.delete(endpoint_id=self.find(webhook_id).pk)
        return HttpResponse(status=204)


class SecretView(WebhookApiView):
    """The endpoint GET /v1/webhooks/secret."""

    def get(self, request: Request) -> Response:
        """Return the secret that signs for the addresses that requests name."""
        default = endpoints.default_of(account_id=self.account.pk)
        return Response(_SECRET.to_representation(_shown(default)))


class RotateView(WebhookApiView):
    """The endpoint POST /v1/webhooks/{id}/rotate."""

    def post(self, request: Request, webhook_id: str) -> Response:
        """Give the webhook a new secret, and show it for the only time."""
        endpoint = self.find_or_default(webhook_id)
        overlap_seconds = read_body(request, serializers.RotateSerializer, may_be_empty=True)[
            "overlap_seconds"
        ]
        rotated = endpoints.rotate(
            endpoint_id=endpoint.pk,
            overlap_seconds=endpoints.DEFAULT_OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds,
        )
        return Response(_SECRET.to_representation(_shown(rotated)))


class TestView(WebhookApiView):
    """The endpoint POST /v1/webhooks/{id}/test."""

    def post(self, request: Request, webhook_id: str) -> Response:
        """Send a test event to this webhook alone."""
        made = deliveries.send_test(endpoint=self.find(webhook_id))
        return Response(_DELIVERY.to_representation(made), status=202)


class DeliveriesView(WebhookApiView):
    """The endpoint GET /v1/webhooks/{id}/deliveries."""

    def get(self, request: Request, webhook_id: str) -> Response:
        """Return one page of the log, newest first."""
        query = serializers.DeliveryPageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit = query.validated_data["limit"]
        endpoint = self.find_or_default(webhook_id)
        page = deliveries.get_page(
            endpoint_id=endpoint.pk, before=query.validated_data["before"] or None, limit=limit + 1
        )
        shown = page[:limit]
        for delivery in shown:
            delivery.endpoint = endpoint
        next_before = shown[-1].pk if len(page) > limit else None
        return Response(_DELIVERIES.to_representation({"deliveries": shown, "next_before": next_before}))


class ReplayView(WebhookApiView):
    """The endpoint POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay."""

    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        """Send the delivery again under the same message id."""
        endpoint = self.find_or_default(webhook_id)
        try:
            found = deliveries.find(endpoint_id=endpoint.pk, delivery_id=read_id(delivery_id))
        except WebhookDelivery.DoesNotExist:
            raise exceptions.NotFound from None
        deliveries.replay(delivery=found)
        found.refresh_from_db()
        return Response(_DELIVERY.to_representation(found), status=202)


class RecoverView(WebhookApiView):
    """The endpoint POST /v1/webhooks/{id}/recover."""

    def post(self, request: Request, webhook_id: str) -> Response:
        """Send again what failed in this time."""
        endpoint = self.find_or_default(webhook_id)
        sent = read_body(request, serializers.RecoverSerializer)
        count = deliveries.recover(
            endpoint_id=endpoint.pk, since=sent["since"], until=sent["until"] or timezone.now()
        )
        return Response(_RECOVERED.to_representation({"recovered": count}), status=202)


def _plain(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"endpoint": endpoint}


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"endpoint": endpoint, "secret": endpoints.secret_text(endpoint)}
