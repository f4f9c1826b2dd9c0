"""Admin pages of webhooks. They show no secret, and to disable and enable endpoints is all that they change."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.records import ReadOnlyAdmin
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import endpoints


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Admin of endpoints, with a search by id, account or address. Staff may disable and enable them."""

    list_display = [
        "id",
        "account",
        "url",
        "is_enabled",
        "disabled_reason",
        "failure_count",
        "last_success_at",
        "created_at",
        "deleted_at",
    ]
    list_filter = ["is_enabled", "disabled_reason", "is_default"]
    list_select_related = ["account"]
    search_fields = ["=id", "=account__name", "=account__id", "url"]
    search_help_text = "Search by id, account name, account id or address."
    exclude = ["secret", "former_secret"]
    actions = ["disable_selected", "enable_selected"]

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Return whether the staff member may disable and enable endpoints."""
        return bool(request.user.has_perm("workers.change_webhookendpoint"))

    @admin.action(description="Disable selected webhooks", permissions=["switch"])
    def disable_selected(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        """Disable the endpoints. What waits for them is not sent."""
        self._switch(request, chosen, is_enabled=False)

    @admin.action(description="Enable selected webhooks", permissions=["switch"])
    def enable_selected(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint]) -> None:
        """Enable the endpoints, which start without failures."""
        self._switch(request, chosen, is_enabled=True)

    def _switch(self, request: HttpRequest, chosen: QuerySet[WebhookEndpoint], *, is_enabled: bool) -> None:
        rows = list(chosen.filter(deleted_at__isnull=True).exclude(is_enabled=is_enabled))
        done = "enabled" if is_enabled else "disabled"
        for endpoint in rows:
            endpoints.change(endpoint_id=endpoint.pk, changes={"is_enabled": is_enabled})
            self.log_change(request, endpoint, done)
        self.message_user(request, f"{len(rows)} webhooks are {done}.", messages.SUCCESS)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Admin of the log of deliveries, with a search by id, endpoint or generation."""

    list_display = [
        "id",
        "endpoint",
        "event_type",
        "generation_id",
        "attempt_count",
        "response_status",
        "error",
        "milliseconds",
        "created_at",
        "next_at",
        "delivered_at",
    ]
    list_filter = ["event_type", "error"]
    list_select_related = ["endpoint"]
    search_fields = ["=id", "=endpoint__id", "=generation__id"]
    search_help_text = "Search by id, webhook or generation."
    exclude = ["lease_token"]
