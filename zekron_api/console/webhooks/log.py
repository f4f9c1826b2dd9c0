"""The views of the log of deliveries. A part of the page is enough for htmx, which sends the header HX-Target."""

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.grants import Scope
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import deliveries
from workers.webhooks.deliveries import State
from workers.webhooks.endpoints import EndpointDisabled
from zekron_api.console import act_log, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.webhooks import log_page, lookup
from zekron_api.console.webhooks.forms import RecoverForm
from zekron_api.console.webhooks.log_page import DeliveryRow

# The elements that htmx fills, and the templates that fill them.
_PARTS: Final = {"deliveries": "webhooks/deliveries.html", "older": "webhooks/delivery_rows.html"}
_STATES: Final = (("", "All"), *((state, state.capitalize()) for state in State))
_DISABLED: Final = "This webhook is disabled. Enable it first."


@require_safe
@member_page(Scope.WEBHOOKS)
def show_webhook(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Show a webhook with a page of its log, or the part of the page that htmx asks for."""
    endpoint = lookup.find_or_default(access, webhook_id)
    query = request.GET
    log = log_page.read(endpoint=endpoint, state=query.get("state", ""), before=query.get("before", ""))
    template = _PARTS.get(request.headers.get("HX-Target", ""), "webhooks/webhook.html")
    context = {**_names(endpoint), "log": log, "rows": log.rows, "states": _STATES}
    return pages.render(request, access, template, context)


@require_safe
@member_page(Scope.WEBHOOKS)
def show_delivery(request: HttpRequest, access: Access, webhook_id: str, delivery_id: int) -> HttpResponse:
    """Show the row of one delivery, for a page that waits for its end."""
    endpoint = lookup.find_or_default(access, webhook_id)
    return _show_row(request, access, endpoint, _find(endpoint, delivery_id))


@require_POST
@member_page(Scope.WEBHOOKS)
def replay(request: HttpRequest, access: Access, webhook_id: str, delivery_id: int) -> HttpResponse:
    """Send a delivery again under the same message id."""
    endpoint = lookup.find_or_default(access, webhook_id)
    found = _find(endpoint, delivery_id)
    refusal = ""
    try:
        deliveries.replay(delivery=found)
        act_log.note(access, "replayed delivery %s of webhook %s", found.pk, endpoint.pk)
    except EndpointDisabled:
        refusal = _DISABLED
    if "HX-Request" in request.headers:
        found.refresh_from_db()
        return _show_row(request, access, endpoint, found, is_replayed=True, refusal=refusal)
    if refusal:
        messages.error(request, refusal)
    else:
        messages.success(request, "The event is on its way again.")
    return _back(access, endpoint)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.WEBHOOKS)
def recover(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Send again what failed in a time."""
    endpoint = lookup.find_or_default(access, webhook_id)
    form = RecoverForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        since, until = form.cleaned_data["since"], form.cleaned_data["until"] or timezone.now()
        try:
            count = deliveries.recover(endpoint_id=endpoint.pk, since=since, until=until)
        except EndpointDisabled:
            form.add_error(None, _DISABLED)
        else:
            act_log.note(access, "recovered %s deliveries of webhook %s", count, endpoint.pk)
            messages.success(request, f"Failed deliveries that are sent again: {count}.")
            return _back(access, endpoint)
    return pages.render(request, access, "webhooks/recover.html", {**_names(endpoint), "form": form})


def _find(endpoint: WebhookEndpoint, delivery_id: int) -> WebhookDelivery:
    try:
        return deliveries.find(endpoint_id=endpoint.pk, delivery_id=delivery_id)
    except WebhookDelivery.DoesNotExist:
        raise Http404 from None


def _names(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"endpoint": endpoint, "webhook_id": lookup.text_of(endpoint)}


def _show_row(
    request: HttpRequest,
    access: Access,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery,
    **more: object,
) -> HttpResponse:
    context = {**_names(endpoint), "row": DeliveryRow.of(delivery), **more}
    return pages.render(request, access, "webhooks/delivery.html", context)


def _back(access: Access, endpoint: WebhookEndpoint) -> HttpResponse:
    return redirect("console:webhook", account_id=access.account.pk, webhook_id=lookup.text_of(endpoint))
