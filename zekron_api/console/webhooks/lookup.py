"""The lookup of the account's webhooks by the texts of routes."""

from typing import Final

from django.http import Http404

from workers.webhook_models import WebhookEndpoint
from workers.webhooks import endpoints
from zekron_api.console.access import Access

# In place of an id, it stands for the addresses that requests name.
DEFAULT: Final = "default"


def find(access: Access, webhook_id: str) -> WebhookEndpoint:
    """Return the account's webhook. Raises Http404."""
    mine = endpoints.of_account(access.account.pk)
    found = mine.filter(pk=int(webhook_id)).first() if _is_id(webhook_id) else None
    if found is None:
        raise Http404
    return found


def find_or_default(access: Access, webhook_id: str) -> WebhookEndpoint:
    """Return the account's webhook, or its default endpoint. Raises Http404."""
    if webhook_id == DEFAULT:
        return endpoints.default_of(account_id=access.account.pk)
    return find(access, webhook_id)


def text_of(endpoint: WebhookEndpoint) -> str:
    """Return the text by which routes name the endpoint."""
    return DEFAULT if endpoint.is_default else str(endpoint.pk)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
