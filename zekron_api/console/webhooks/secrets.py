"""The views of the secrets that sign events."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST

from billing.grants import Scope
from workers.webhook_models import WebhookEndpoint
from workers.webhooks import endpoints
from zekron_api.console import act_log, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.webhooks import lookup
from zekron_api.console.webhooks.forms import RotateForm


@require_POST
@member_page(Scope.WEBHOOKS)
def reveal(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Show the secret of a webhook, or of the addresses that requests name."""
    endpoint = lookup.find_or_default(access, webhook_id)
    act_log.note(access, "revealed the secret of webhook %s", endpoint.pk)
    return show_secret(request, access, endpoint, title="The secret")


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(Scope.WEBHOOKS)
def rotate(request: HttpRequest, access: Access, webhook_id: str) -> HttpResponse:
    """Give a webhook a new secret after a question, and show it."""
    endpoint = lookup.find_or_default(access, webhook_id)
    form = RotateForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        seconds = int(form.overlap.total_seconds())
        rotated = endpoints.rotate(endpoint_id=endpoint.pk, overlap_seconds=seconds)
        act_log.note(access, "rotated the secret of webhook %s", endpoint.pk)
        return show_secret(request, access, rotated, title="The new secret")
    context = {"form": form, "endpoint": endpoint, "webhook_id": webhook_id}
    return pages.render(request, access, "webhooks/rotate.html", context)


def show_secret(
    request: HttpRequest, access: Access, endpoint: WebhookEndpoint, *, title: str
) -> HttpResponse:
    """Show the secret in the reply itself. No message, session or URL keeps it."""
    context = {
        "title": title,
        "endpoint": endpoint,
        "webhook_id": lookup.text_of(endpoint),
        "secret": endpoints.secret_text(endpoint),
    }
    return pages.render(request, access, "webhooks/secret.html", context)
