"""The pages on which staff see webhooks, and disable and enable them."""

import pytest
from django.test import Client

from storage import sealed_secrets
from tests.billing.admin_client import browser_with, page
from tests.workers.webhooks import made
from workers.webhook_models import DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import endpoints

pytestmark = pytest.mark.django_db

ENDPOINTS = "/admin/workers/webhookendpoint/"
DELIVERIES = "/admin/workers/webhookdelivery/"


def switch(browser: Client, action: str, *chosen: WebhookEndpoint) -> str:
    fields = {"action": action, "_selected_action": [each.pk for each in chosen]}
    return browser.post(ENDPOINTS, fields, follow=True).content.decode()


def test_staff_see_endpoints_and_deliveries_and_no_secret() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint, response_status=503, error="status")
    browser = browser_with("view_webhookendpoint", "view_webhookdelivery")
    shown = [
        page(browser, ENDPOINTS),
        page(browser, f"{ENDPOINTS}{endpoint.pk}/change/"),
        page(browser, DELIVERIES),
        page(browser, f"{DELIVERIES}{WebhookDelivery.objects.get().pk}/change/"),
    ]
    assert made.URL in shown[0]
    assert "503" in shown[2]
    secret = endpoints.secret_text(endpoint)
    hidden = sealed_secrets.read(secret=endpoint.secret).hex()
    for text in shown:
        assert secret not in text
        assert hidden not in text
        assert f"sealed secret {endpoint.secret_id}" not in text
        assert 'name="_save"' not in text


def test_staff_disable_and_enable_webhooks_if_they_may_change_them() -> None:
    one, two, deleted = (made.endpoint() for _ in range(3))
    waits = made.delivery(one)
    endpoints.delete(endpoint_id=deleted.pk)
    browser = browser_with("view_webhookendpoint", "change_webhookendpoint")
    assert "2 webhooks are disabled." in switch(browser, "disable_selected", one, two, deleted)
    assert not WebhookEndpoint.objects.filter(is_enabled=True).exists()
    assert WebhookDelivery.objects.get(pk=waits.pk).next_at is None
    WebhookEndpoint.objects.filter(pk=one.pk).update(
        disabled_at=made.NOW, disabled_reason=DisabledReason.FAILING, failure_count=50
    )
    assert "1 webhooks are enabled." in switch(browser, "enable_selected", one, deleted)
    one.refresh_from_db()
    assert (one.is_enabled, one.failure_count, one.disabled_reason) == (True, 0, "")


def test_staff_who_only_look_change_nothing() -> None:
    endpoint = made.endpoint()
    switch(browser_with("view_webhookendpoint"), "disable_selected", endpoint)
    endpoint.refresh_from_db()
    assert endpoint.is_enabled
