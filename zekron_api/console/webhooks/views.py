"""The views of webhooks: listed, created, changed, tested and deleted."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.grants import Scope
from workers.webhook_models import MAX_ENDPOINTS
from workers.webhooks import deliveries, endpoints
from zekron_api.console import act_log, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.webhooks import lookup
from zekron_api.console.webhooks.forms import WebhookForm
from zekron_api.console.webhooks.log_page import DeliveryRow
from zekron_api.console.webhooks.secrets import show_secret


@require_safe
@member_page(Scope.WEBHOOKS)
def show_webhooks(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the account's webhooks, each with its last delivery."""
    rows = []
    for endpoint in endpoints.of_account(access.account.pk):
        last = deliveries.get_page(endpoint_id=endpoint.pk, before=None, limit=1)
        rows.append({"endpoint": endpoint, "last": DeliveryRow.of(last[0]) if last else None})
    return pages.render(request, access, "webhooks.html", {"rows": rows, "most": MAX_ENDPOINTS})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.WEBHOOKS)
def create(request: HttpRequest, access: Access) -> HttpResponse:
    """Create a webhook by the form, and show its secret."""
    form = WebhookForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        sent = dict(form.cleaned_data)
        try:
            made = endpoints.create(account_id=access.account.pk, subscribed=sent.pop("events"), **sent)
        except endpoints.TooManyEndpoints:
            form.add_error(None, f"An account has at most {MAX_ENDPOINTS} webhooks. Delete or change one.")
        else:
            act_log.note(access, "created webhook %s", made.pk)
            return show_secret(request, access, made, title="Your new webhook")
    return pages.render(request, access, "webhooks/form.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.WEBHOOKS)
def edit(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Change a webhook by the form. Only what was changed in it is written."""
    endpoint = lookup.find(access, webhook_id)
    form = WebhookForm(request.POST if request.method == "POST" else None, endpoint=endpoint)
    if form.is_valid():
        endpoints.change(endpoint_id=endpoint.pk, changes=form.read_changes())
        act_log.note(access, "changed webhook %s", endpoint.pk)
        messages.success(request, "The webhook is changed.")
        return redirect("console:webhook", account_id=access.account.pk, webhook_id=endpoint.pk)
    return pages.render(request, access, "webhooks/form.html", {"form": form, "endpoint": endpoint})


@require_POST
@member_page(Scope.WEBHOOKS)
def enable(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Enable a webhook again. It starts without failures."""
    endpoint = lookup.find(access, webhook_id)
    endpoints.change(endpoint_id=endpoint.pk, changes={"is_enabled": True})
    act_log.note(access, "enabled webhook %s", endpoint.pk)
    messages.success(request, "The webhook is enabled. What failed before can be sent again below.")
    return redirect("console:webhook", account_id=access.account.pk, webhook_id=endpoint.pk)


@require_POST
@member_page(Scope.WEBHOOKS)
def send_test(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Send a test event to the webhook alone."""
    endpoint = lookup.find(access, webhook_id)
    try:
        deliveries.send_test(endpoint=endpoint)
    except endpoints.EndpointDisabled:
        messages.error(request, "This webhook is disabled. Enable it first.")
    else:
        act_log.note(access, "tested webhook %s", endpoint.pk)
        messages.success(request, "A test event is on its way. Its delivery is the first one below.")
    return redirect("console:webhook", account_id=access.account.pk, webhook_id=endpoint.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.WEBHOOKS)
def delete(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Delete a webhook after a question."""
    endpoint = lookup.find(access, webhook_id)
    if request.method != "POST":
        return pages.render(request, access, "webhooks/delete.html", {"endpoint": endpoint})
    endpoints.delete(endpoint_id=endpoint.pk)
    act_log.note(access, "deleted webhook %s", endpoint.pk)
    messages.success(request, "The webhook is deleted.")
    return redirect("console:webhooks", account_id=access.account.pk)
