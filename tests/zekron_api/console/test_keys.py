"""The page Keys: an owner issues, changes, rotates and revokes keys as the API does."""

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing import key_changes, key_delegation, keys
from billing.grants import Grants, Scope
from billing.membership_models import Role
from billing.models import Account, ApiKey
from tests import factories
from tests.zekron_api.console.browsing import Browser, browser, text_of

pytestmark = pytest.mark.django_db

FILLED: dict[str, Any] = {"name": "laptop", "scopes": ["generate", "read"], "spend_period": "month"}


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def owner(account: Account) -> Browser:
    return browser(account)


def issued(account: Account, **grants: Any) -> ApiKey:
    key, _ = keys.issue(account_id=account.pk, name="server", grants=Grants(**grants))
    return key


def shown_values(key: ApiKey) -> dict[str, Any]:
    """Return the form of a key as its page shows it, with the fields that keep what was shown."""
    lines = "\n".join(key.allowed_ips or [])
    fields = {
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": "",
        "allowed_ips": lines,
        "allowed_models": key.allowed_models or [],
        "requests_per_minute": key.requests_per_minute or "",
        "open_limit": key.open_limit or "",
        "spend_limit_micros": "",
        "spend_period": key.spend_period,
    }
    return fields | {f"initial-{name}": value for name, value in fields.items()}


def test_a_new_key_is_shown_once_and_works(owner: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zekron_api.console")
    reply = owner.send("keys/new", **FILLED)
    [text] = set(re.findall(r"zk_live_[0-9A-Za-z]{46}", reply.content.decode()))
    assert keys.authenticate(text=text).account == owner.account
    assert "no-store" in reply["Cache-Control"]
    assert text not in owner.get("keys").content.decode() + str(dict(owner.client.session)) + caplog.text
    assert f"{owner.user.username} issued key {ApiKey.objects.get().pk}" in caplog.text


def test_every_field_of_a_key_can_be_given(owner: Browser) -> None:
    owner.send(
        "keys/new",
        **{**FILLED, "scopes": ["read", "generate"]},
        expires_at="2999-01-02T03:04",
        allowed_ips="192.0.2.7\n2001:db8::/32",
        allowed_models=["zekron-image-1"],
        requests_per_minute="30",
        open_limit="2",
        spend_limit_micros="25",
    )
    key = ApiKey.objects.get()
    assert keys.grants_of(key) == Grants(
        scopes=("generate", "read"),
        expires_at=datetime(2999, 1, 2, 3, 4, tzinfo=UTC),
        allowed_ips=("192.0.2.7/32", "2001:db8::/32"),
        allowed_models=("zekron-image-1",),
        requests_per_minute=30,
        open_limit=2,
        spend_limit_micros=25_000_000,
        spend_period="month",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scopes": []}, "This field is required."),
        ({"expires_at": "2001-01-01T00:00"}, "The expiry must be in the future."),
        # PostgreSQL would take the year 10000, and Python could not read the key any more.
        ({"expires_at": "9999-12-31T23:59-12:00"}, "Enter a valid date/time."),
        ({"allowed_ips": "here"}, "Allowed IP addresses must be addresses or networks"),
        ({"spend_limit_micros": "0"}, "Spending limit must be over zero"),
        ({"spend_limit_micros": "5", "scopes": ["keys"]}, "must not have the scope keys"),
        ({"open_limit": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_wrong_field_is_explained_and_nothing_typed_is_lost(
    owner: Browser, fields: dict[str, Any], message: str
) -> None:
    reply = owner.send("keys/new", **{**FILLED, "allowed_ips": "192.0.2.9", **fields})
    assert reply.status_code == 200
    assert message in text_of(reply)
    assert 'aria-invalid="true"' in reply.content.decode() or "scopes" in fields
    assert 'value="laptop"' in reply.content.decode()
    assert not ApiKey.objects.exists()


def test_one_key_too_many_is_refused_in_the_form(owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_delegation, "MAX_KEYS", 0)
    reply = owner.send("keys/new", **FILLED)
    assert "Revoke one first." in text_of(reply)
    assert 'value="laptop"' in reply.content.decode()


def test_an_edit_writes_only_what_was_changed_in_it(owner: Browser) -> None:
    key = issued(owner.account, open_limit=3, expires_at=datetime.now(UTC) + timedelta(days=1))
    shown = shown_values(key)
    key_changes.change(key_id=key.pk, grants={"open_limit": 9})
    reply = owner.send(f"keys/{key.pk}", **{**shown, "name": "builder", "requests_per_minute": "7"})
    assert reply.status_code == 302
    key.refresh_from_db()
    assert (key.name, key.requests_per_minute, key.open_limit) == ("builder", 7, 9)
    assert key.expires_at is not None


def test_an_expiry_that_is_not_touched_keeps_its_seconds(owner: Browser) -> None:
    expires_at = datetime(2999, 1, 2, 3, 4, 5, tzinfo=UTC)
    key = issued(owner.account, expires_at=expires_at)
    page = owner.get(f"keys/{key.pk}").content.decode()
    assert 'value="2999-01-02T03:04"' in page
    [kept] = re.findall(r'name="initial-expires_at" value="([^"]*)"', page)
    sent = {**shown_values(key), "expires_at": "2999-01-02T03:04", "initial-expires_at": kept}
    owner.send(f"keys/{key.pk}", **{**sent, "open_limit": "4"})
    key.refresh_from_db()
    assert (key.expires_at, key.open_limit) == (expires_at, 4)


def test_a_rotated_key_has_two_texts_for_the_overlap(owner: Browser) -> None:
    key, former = keys.issue(account_id=owner.account.pk)
    keys.authenticate(text=former)
    reply = owner.send(f"keys/{key.pk}/rotate", overlap_hours="1")
    [text] = set(re.findall(r"zk_live_[0-9A-Za-z]{46}", reply.content.decode()))
    assert [keys.authenticate(text=each).id for each in (text, former)] == [key.pk, key.pk]
    assert "is valid until" in text_of(reply)


def test_an_overlap_of_more_than_a_week_is_refused(owner: Browser) -> None:
    key = issued(owner.account)
    assert "less than or equal to 168" in text_of(owner.send(f"keys/{key.pk}/rotate", overlap_hours="169"))
    key.refresh_from_db()
    assert key.former_until is None


def test_a_key_is_revoked_after_a_question(owner: Browser) -> None:
    key = issued(owner.account)
    assert "never works again" in owner.shown(f"keys/{key.pk}/revoke")
    key.refresh_from_db()
    assert key.revoked_at is None
    owner.send(f"keys/{key.pk}/revoke")
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "Revoked keys (1)" in owner.shown("keys")
    assert owner.get(f"keys/{key.pk}").status_code == 404


def test_the_list_says_what_each_key_has_spent(owner: Browser) -> None:
    key = issued(owner.account, spend_limit_micros=5_000_000)
    factories.submit(owner.account, api_key_id=key.pk, now=None)
    assert "0.0267 of 5.0000 this month" in owner.shown("keys")


@pytest.mark.parametrize("page", ["", "/rotate", "/revoke"])
def test_a_key_of_another_account_is_not_there(owner: Browser, page: str) -> None:
    foreign = issued(factories.account())
    path = f"keys/{foreign.pk}{page}"
    assert owner.get(path).status_code == 404
    assert owner.send(path, overlap_hours="1", **FILLED).status_code == 404
    assert ApiKey.objects.get(pk=foreign.pk).revoked_at is None


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_see_and_make_keys(account: Account, role: str) -> None:
    person = browser(account, role)
    assert person.get("keys").status_code == 403
    assert person.send("keys/new", **FILLED).status_code == 403
    assert not ApiKey.objects.exists()


def test_a_form_without_its_token_changes_nothing(owner: Browser) -> None:
    key = issued(owner.account)
    reply = owner.client.post(f"/console/{owner.account.pk}/keys/{key.pk}/revoke")
    assert reply.status_code == 403
    assert ApiKey.objects.get(pk=key.pk).revoked_at is None


def test_the_request_that_is_shown_needs_no_scope_that_the_key_lacks(owner: Browser) -> None:
    without_read = owner.send("keys/new", **{**FILLED, "scopes": [Scope.GENERATE]})
    assert "/v1/models" in text_of(without_read)
    assert "/v1/balance" in text_of(owner.send("keys/new", **FILLED))
