"""Alerts reach the account's webhooks in the transaction that remembers them, and its address by mail."""

from smtplib import SMTPException

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from billing import alerts, keys
from billing.grants import Grants
from billing.models import Account
from tests import factories, movements
from tests.workers.webhooks import made
from workers import alerts as telling
from workers.webhook_models import DisabledReason, WebhookDelivery
from workers.webhooks import endpoints, events, outbox

pytestmark = pytest.mark.django_db
LOCAL = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def poor(settings: Settings) -> Account:
    """Return an account with a low balance that wants mail, where mail is sent."""
    settings.SENDS_MAIL, settings.EMAIL_BACKEND = True, LOCAL
    account = factories.account(balance_micros=1_000_000)
    alerts.put(account_id=account.pk, low_balance_micros=5_000_000, percents=(50,), email="ada@example.com")
    return account


def test_a_low_balance_is_mailed_once(
    poor: Account, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert telling.tell_all() == 1
        assert telling.tell_all() == 0
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == (["ada@example.com"], "Your balance is low")
    assert f"Account: {poor.name}\nbalance: 1.0000\nthreshold: 5.0000\n" in sent.body


def test_a_key_is_told_with_its_id_and_percentage(
    poor: Account, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    grants = Grants(spend_limit_micros=100_000, spend_period="total")
    key, _ = keys.issue(account_id=poor.pk, grants=grants)
    movements.hold(account_id=poor.pk, quote_micros=60_000, api_key_id=key.pk)
    with django_capture_on_commit_callbacks(execute=True):
        assert telling.tell_all() == 2
    assert f"key_id: {key.pk}\npercent: 50\n" in mail.outbox[1].body


def test_mail_that_cannot_be_sent_costs_nothing_but_a_line(
    poor: Account,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    def fail(*_: object) -> None:
        raise SMTPException("ada@example.com is unknown")

    monkeypatch.setattr(EmailBackend, "send_messages", fail)
    with django_capture_on_commit_callbacks(execute=True):
        assert telling.tell_all() == 1
    assert f"account {poor.pk}: the mail of balance.low could not be sent (SMTPException)" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_nothing_is_mailed_where_the_service_sends_none(
    poor: Account, settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    settings.SENDS_MAIL = False
    with django_capture_on_commit_callbacks(execute=True):
        assert telling.tell_all() == 1
    assert mail.outbox == []


def test_what_is_rolled_back_is_told_again(poor: Account) -> None:
    with transaction.atomic():
        assert telling.tell_all() == 1
        transaction.set_rollback(True)
    assert telling.tell_all() == 1


def test_the_account_s_webhooks_get_the_alerts_that_they_want(
    poor: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "wake", lambda: None)
    wanting = made.endpoint(poor, subscribed=[events.BALANCE_LOW, events.WEBHOOK_DISABLED])
    made.endpoint(poor, subscribed=[events.COMPLETED])
    broken = made.endpoint(poor, subscribed=[events.COMPLETED])
    made.endpoint(factories.account(), subscribed=list(events.ALERTS))
    with transaction.atomic():
        endpoints.disable(endpoint=broken, reason=DisabledReason.FAILING)
    assert telling.tell_all() == 2
    assert telling.tell_all() == 0
    told = WebhookDelivery.objects.order_by("pk").values_list("endpoint_id", "event_type", "data")
    assert list(told) == [
        (wanting.pk, "balance.low", {"balance": "1.0000", "threshold": "5.0000"}),
        (wanting.pk, "webhook.disabled", {"webhook_id": broken.pk, "reason": "failing"}),
    ]
    # Whoever enables it again is told again when it is disabled again.
    endpoints.change(endpoint_id=broken.pk, changes={"is_enabled": True})
    with transaction.atomic():
        endpoints.disable(endpoint=broken, reason=DisabledReason.GONE)
    assert telling.tell_all() == 1
