"""The page Webhooks: an owner manages the account's webhooks and looks at what was sent, as the API does."""

import ipaddress
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.workers.webhooks import made
from tests.zekron_api.console.browsing import Browser, browser, text_of
from workers.webhook_models import MAX_ENDPOINTS, DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import addresses, deliveries, endpoints, events, outbox
from zekron_api.console.webhooks import log_page

pytestmark = pytest.mark.django_db

FILLED: dict[str, Any] = {"url": made.URL, "events": [events.FAILED, events.COMPLETED], "is_enabled": "on"}


@pytest.fixture(autouse=True)
def public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name lead to a public address, but one."""

    def look_up(host: str, port: int) -> list[Any]:
        return [ipaddress.ip_address("10.0.0.1" if host == "internal.example.com" else "8.8.8.8")]

    monkeypatch.setattr(addresses, "look_up", look_up)
    monkeypatch.setattr(outbox, "wake", lambda: None)


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def owner(account: Account) -> Browser:
    return browser(account)


@pytest.fixture
def webhook(account: Account) -> WebhookEndpoint:
    return made.endpoint(account)


def failed(webhook: WebhookEndpoint, **changes: Any) -> WebhookDelivery:
    """Insert a delivery that was given up."""
    return made.delivery(webhook, next_at=None, error="timeout", attempt_count=8, tries_left=0, **changes)


def test_a_new_webhook_shows_its_secret(owner: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zekron_api.console")
    reply = owner.send("webhooks/new", **FILLED, include_prompt="on", description="till")
    webhook = WebhookEndpoint.objects.get()
    secret = endpoints.secret_text(webhook)
    assert secret in text_of(reply)
    assert (webhook.url, webhook.events) == (made.URL, [events.COMPLETED, events.FAILED])
    assert (webhook.is_enabled, webhook.include_prompt, webhook.description) == (True, True, "till")
    assert f"{owner.user.username} created webhook {webhook.pk}" in caplog.text
    assert secret not in caplog.text + owner.shown("webhooks") + owner.shown(f"webhooks/{webhook.pk}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "http://hooks.example.com/"}, "The URL must begin with https://."),
        ({"url": "https://internal.example.com/"}, "must not lead to a private or reserved address."),
        ({"events": []}, "This field is required."),
        ({"events": ["boat.sailed"]}, "not one of the available choices"),
    ],
)
def test_a_wrong_field_is_explained_and_nothing_typed_is_lost(
    owner: Browser, fields: dict[str, Any], message: str
) -> None:
    reply = owner.send("webhooks/new", **{**FILLED, "description": "till", **fields})
    assert reply.status_code == 200
    assert message in text_of(reply)
    assert 'value="till"' in reply.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_one_webhook_too_many_is_refused_in_the_form(owner: Browser) -> None:
    for _ in range(MAX_ENDPOINTS):
        made.endpoint(owner.account)
    assert f"at most {MAX_ENDPOINTS} webhooks" in text_of(owner.send("webhooks/new", **FILLED))


def test_an_edit_writes_only_what_was_changed_in_it(owner: Browser, webhook: WebhookEndpoint) -> None:
    shown = {
        "url": webhook.url,
        "description": "",
        "events": webhook.events,
        "is_enabled": "on",
        **{f"initial-{name}": getattr(webhook, name) for name in ("url", "description", "events")},
        "initial-is_enabled": "True",
        "initial-include_prompt": "False",
    }
    endpoints.change(endpoint_id=webhook.pk, changes={"include_prompt": True})
    owner.send(f"webhooks/{webhook.pk}/edit", **{**shown, "description": "till"})
    webhook.refresh_from_db()
    assert (webhook.description, webhook.include_prompt, webhook.is_enabled) == ("till", True, True)


def test_a_webhook_that_the_service_disabled_is_enabled_again(
    owner: Browser, webhook: WebhookEndpoint
) -> None:
    endpoints.disable(endpoint=webhook, reason=DisabledReason.FAILING)
    assert "failed 50 times in a row" in owner.shown(f"webhooks/{webhook.pk}")
    owner.send(f"webhooks/{webhook.pk}/enable")
    webhook.refresh_from_db()
    assert (webhook.is_enabled, webhook.disabled_reason, webhook.failure_count) == (True, "", 0)


def test_a_test_event_is_sent_to_an_enabled_webhook_alone(owner: Browser, webhook: WebhookEndpoint) -> None:
    owner.send(f"webhooks/{webhook.pk}/test")
    assert WebhookDelivery.objects.get().event_type == events.TEST
    assert "pending" in owner.shown(f"webhooks/{webhook.pk}")
    endpoints.change(endpoint_id=webhook.pk, changes={"is_enabled": False})
    owner.send(f"webhooks/{webhook.pk}/test")
    assert "This webhook is disabled. Enable it first." in owner.shown(f"webhooks/{webhook.pk}")
    assert WebhookDelivery.objects.count() == 1


def test_a_webhook_is_deleted_after_a_question(owner: Browser, webhook: WebhookEndpoint) -> None:
    assert "Delete this webhook?" in owner.shown(f"webhooks/{webhook.pk}/delete")
    assert endpoints.of_account(owner.account.pk).exists()
    owner.send(f"webhooks/{webhook.pk}/delete")
    assert not endpoints.of_account(owner.account.pk).exists()
    assert owner.get(f"webhooks/{webhook.pk}").status_code == 404


@pytest.mark.parametrize("name", ["default", "own"])
def test_a_secret_is_shown_on_request_and_rotated(
    owner: Browser, name: str, webhook: WebhookEndpoint
) -> None:
    one = endpoints.default_of(account_id=owner.account.pk) if name == "default" else webhook
    path = f"webhooks/{'default' if name == 'default' else one.pk}"
    former = endpoints.secret_text(one)
    assert former in text_of(owner.send(f"{path}/secret"))
    assert owner.get(f"{path}/secret").status_code == 405
    shown = text_of(owner.send(f"{path}/rotate", overlap_hours="2"))
    one = WebhookEndpoint.objects.get(pk=one.pk)
    assert endpoints.secret_text(one) in shown
    assert former not in shown
    assert endpoints.secrets_of(one, now=datetime.now(UTC) + timedelta(hours=3)) != []
    assert len(endpoints.secrets_of(one, now=datetime.now(UTC) + timedelta(hours=1))) == 2


def test_the_log_is_shown_in_pages_and_by_state(
    owner: Browser, webhook: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_page, "PAGE_SIZE", 2)
    first = failed(webhook, event_type=events.FAILED)
    failed(webhook)
    failed(webhook)
    made.delivery(webhook, next_at=None, delivered_at=made.NOW, event_type=events.COMPLETED)
    shown = owner.shown(f"webhooks/{webhook.pk}?state=failed")
    assert shown.count("the receiver took too long") == 2
    assert events.COMPLETED not in shown.partition("newest first")[2]
    older = owner.shown(f"webhooks/{webhook.pk}?state=failed&before={first.pk + 1}")
    assert (older.count(events.FAILED), "Older" in older) == (2, False)
    assert "Older" in shown
    assert owner.get(f"webhooks/{webhook.pk}?state=x&before=y").status_code == 200


def test_a_script_gets_the_part_of_the_page_that_it_fills(owner: Browser, webhook: WebhookEndpoint) -> None:
    failed(webhook)
    rows = owner.get(
        f"webhooks/{webhook.pk}", **{"HX-Request": "true", "HX-Target": "older"}
    ).content.decode()
    whole = owner.get(f"webhooks/{webhook.pk}", **{"HX-Request": "true", "HX-Target": "deliveries"})
    assert rows.strip().startswith("<tr")
    assert whole.content.decode().strip().startswith("<h2")
    assert "<html" not in rows + whole.content.decode()


def test_a_delivery_is_sent_again_with_and_without_a_script(owner: Browser, webhook: WebhookEndpoint) -> None:
    for headers in ({}, {"HX-Request": "true"}):
        delivery = failed(webhook)
        reply = owner.press(f"webhooks/{webhook.pk}/deliveries/{delivery.pk}/replay", **headers)
        assert reply.status_code == (200 if headers else 302)
        delivery.refresh_from_db()
        assert deliveries.state_of(delivery) == deliveries.State.PENDING
    assert f'id="delivery-{delivery.pk}"' in reply.content.decode()


def test_nothing_is_sent_again_to_a_disabled_webhook(owner: Browser, webhook: WebhookEndpoint) -> None:
    endpoints.change(endpoint_id=webhook.pk, changes={"is_enabled": False})
    delivery = failed(webhook)
    path = f"webhooks/{webhook.pk}/deliveries/{delivery.pk}/replay"
    assert b"Enable it first." in owner.press(path, **{"HX-Request": "true"}).content
    owner.press(path)
    assert "Enable it first." in owner.shown("webhooks")
    recovery = owner.send(f"webhooks/{webhook.pk}/recover", since="2025-12-31T00:00", until="")
    assert "Enable it first." in text_of(recovery)
    delivery.refresh_from_db()
    assert deliveries.state_of(delivery) == deliveries.State.FAILED


def test_what_failed_in_a_time_is_sent_again(owner: Browser, webhook: WebhookEndpoint) -> None:
    before, inside = failed(webhook, created_at=made.NOW - timedelta(hours=2)), failed(webhook)
    path = f"webhooks/{webhook.pk}/recover"
    wrong = text_of(owner.send(path, since="2026-01-01T11:00", until="2026-01-01T10:00"))
    assert "The end must not be before the start." in wrong
    owner.send(path, since="2026-01-01T11:00", until="2026-01-01T13:00")
    assert "sent again: 1." in owner.shown("webhooks")
    states = [deliveries.state_of(WebhookDelivery.objects.get(pk=each.pk)) for each in (before, inside)]
    assert states == [deliveries.State.FAILED, deliveries.State.PENDING]


@pytest.mark.parametrize("page", ["", "/edit", "/delete", "/rotate", "/recover"])
def test_a_webhook_of_another_account_is_not_there(owner: Browser, page: str) -> None:
    foreign = made.endpoint()
    assert owner.get(f"webhooks/{foreign.pk}{page}").status_code == 404
    assert owner.get(f"webhooks/x{page}").status_code == 404


@pytest.mark.parametrize("page", ["/secret", "/test", "/enable", "/deliveries/{}/replay"])
def test_no_act_reaches_a_webhook_of_another_account(owner: Browser, page: str) -> None:
    foreign = made.endpoint()
    delivery = failed(foreign)
    assert owner.press(f"webhooks/{foreign.pk}{page.format(delivery.pk)}").status_code == 404
    # A delivery of a foreign webhook is not one of the own webhook either.
    own = made.endpoint(owner.account)
    assert owner.press(f"webhooks/{own.pk}/deliveries/{delivery.pk}/replay").status_code == 404


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_see_webhooks(account: Account, role: str) -> None:
    webhook, person = made.endpoint(account), browser(account, role)
    for page in ("webhooks", "webhooks/new", f"webhooks/{webhook.pk}", "webhooks/default"):
        assert person.get(page).status_code == 403
    assert person.press(f"webhooks/{webhook.pk}/secret").status_code == 403


def test_a_script_of_somebody_who_signed_out_has_the_page_load_again(
    owner: Browser, webhook: WebhookEndpoint
) -> None:
    owner.client.logout()
    reply = owner.get(f"webhooks/{webhook.pk}", **{"HX-Request": "true", "HX-Target": "older"})
    assert reply["HX-Refresh"] == "true"
