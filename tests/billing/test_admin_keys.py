"""Keys on the admin's pages: issued, shown once, revoked."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from billing import key_changes, keys
from billing.grants import Grants
from billing.models import Account, ApiKey
from tests.billing.admin_client import KEYS, act, browser_with, page

pytestmark = pytest.mark.django_db


def filled(owner: Account, **fields: Any) -> dict[str, Any]:
    """Return the fields of the form of a key as a browser sends them, with these changes."""
    return {
        "account": owner.pk,
        "name": "",
        "scopes": ["generate", "read"],
        "expires_at_0": "",
        "expires_at_1": "",
        "allowed_ips": "",
        "allowed_models": "",
        "requests_per_minute": "",
        "open_limit": "",
        "spend_limit_micros": "",
        "spend_period": "month",
        **fields,
    }


def initial(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the fields in which a page keeps what it showed."""
    return {f"initial-{name}": value for name, value in shown.items()}


def test_a_new_key_is_shown_exactly_once(staff: Client, account: Account) -> None:
    reply = staff.post(f"{KEYS}add/", filled(account, name="laptop"))
    [text] = re.findall(r"zk_live_[0-9A-Za-z]{46}", reply.content.decode())
    key = ApiKey.objects.get()
    assert "no-store" in reply.headers["Cache-Control"]
    assert keys.authenticate(text=text).account == account
    assert (key.name, LogEntry.objects.get().object_id) == ("laptop", str(key.pk))
    for address in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/"):
        shown = page(staff, address)
        assert text not in shown
        assert text[12:-4] not in shown
        assert key.digest not in shown
    assert text not in str(dict(staff.session)) + str(staff.cookies) + str(LogEntry.objects.values())


def test_a_key_can_be_given_an_end(staff: Client, account: Account) -> None:
    ahead = timezone.now() + timedelta(days=30)
    data = filled(account, expires_at_0=ahead.date().isoformat(), expires_at_1="12:00:00")
    assert "zk_live_" in staff.post(f"{KEYS}add/", data).content.decode()
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.date() == ahead.date()


@pytest.mark.parametrize(
    "data",
    [
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
        {"account": "404"},
        {"scopes": []},
        {"scopes": ["keys"], "spend_limit_micros": "1"},
        {"allowed_ips": "localhost"},
        {"requests_per_minute": "0"},
        {"spend_limit_micros": "0"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_issued(
    staff: Client, account: Account, data: dict[str, Any]
) -> None:
    reply = staff.post(f"{KEYS}add/", filled(account, **data))
    assert reply.status_code == 200
    assert "zk_live_" not in reply.content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_grants_what_the_form_says_and_a_change_says_what_changed(
    staff: Client, account: Account
) -> None:
    bounds = {
        "scopes": ["read", "keys"],
        "allowed_ips": "192.0.2.0/24\n2001:db8::/32\n",
        "allowed_models": "zekron-image-1",
        "requests_per_minute": "7",
        "open_limit": "2",
    }
    staff.post(f"{KEYS}add/", filled(account, **bounds))
    key = ApiKey.objects.get()
    assert keys.grants_of(key) == Grants(
        scopes=("read", "keys"),
        allowed_ips=("192.0.2.0/24", "2001:db8::/32"),
        allowed_models=("zekron-image-1",),
        requests_per_minute=7,
        open_limit=2,
    )
    spending = {"scopes": ["read"], "spend_limit_micros": "25", "spend_period": "day", "name": "shop"}
    before = initial(filled(account, **bounds))
    reply = staff.post(f"{KEYS}{key.pk}/change/", {**filled(account, **{**bounds, **spending}), **before})
    assert reply.status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.name, changed.scopes, changed.open_limit) == ("shop", ["read"], 2)
    assert (changed.spend_limit_micros, changed.spend_period) == (25_000_000, "day")
    newest = LogEntry.objects.latest("id").get_change_message()
    assert newest == "Changed Name, scopes, Spend limit (USD) and Spend period."
    assert 'value="25.0000"' in page(staff, f"{KEYS}{key.pk}/change/")


def test_staff_change_only_what_they_have_changed_on_the_page(staff: Client, account: Account) -> None:
    key, _ = keys.issue(account_id=account.pk)
    shown = filled(account, scopes=list(key.scopes))
    assert 'name="initial-scopes"' in page(staff, f"{KEYS}{key.pk}/change/")
    narrow = {"scopes": ("read",), "allowed_ips": ("192.0.2.0/24",), "spend_limit_micros": 100}
    key_changes.change(key_id=key.pk, grants=narrow)
    reply = staff.post(f"{KEYS}{key.pk}/change/", {**shown, **initial(shown), "name": "shop"})
    assert reply.status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.name, changed.scopes, changed.spend_limit_micros) == ("shop", ["read"], 100)
    assert changed.allowed_ips == ["192.0.2.0/24"]


def test_a_key_is_rotated_and_its_new_text_is_shown_exactly_once(staff: Client, account: Account) -> None:
    key, former = keys.issue(account_id=account.pk)
    rotate = f"{KEYS}{key.pk}/rotate/"
    assert rotate in page(staff, f"{KEYS}{key.pk}/change/")
    assert "former text stays valid" in page(staff, rotate)
    refused = staff.post(rotate, {"overlap_hours": "169"}).content.decode()
    assert not re.search(r"zk_live_[0-9A-Za-z]{46}", refused)
    shown = staff.post(rotate, {"overlap_hours": "1"})
    [text] = re.findall(r"zk_live_[0-9A-Za-z]{46}", shown.content.decode())
    assert "no-store" in shown.headers["Cache-Control"]
    assert keys.authenticate(text=text).id == keys.authenticate(text=former).id == key.pk
    assert LogEntry.objects.get().get_change_message() == "Rotated. The former key stays valid for 1 hours."
    assert text not in page(staff, f"{KEYS}{key.pk}/change/") + page(staff, f"{KEYS}{key.pk}/history/")
    viewer = browser_with("view_apikey")
    assert viewer.post(rotate, {"overlap_hours": "1"}).status_code == 403
    assert "Rotate" not in page(viewer, f"{KEYS}{key.pk}/change/")
    keys.revoke(key_id=key.pk)
    assert staff.post(rotate, {"overlap_hours": "1"}).status_code == 403
    assert staff.get(f"{KEYS}999999/rotate/").status_code == 404


def test_revoked_keys_are_never_changed_and_keys_are_never_deleted(staff: Client, account: Account) -> None:
    key, text = keys.issue(account_id=account.pk)
    assert f"Key {key} is revoked." in act(staff, KEYS, "revoke", key.pk)
    assert "already revoked" in act(staff, KEYS, "revoke", key.pk)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)
    assert staff.post(f"{KEYS}{key.pk}/change/", filled(account, name="x")).status_code == 403
    assert staff.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page(staff, KEYS)


def test_keys_are_listed_with_their_state_and_found(staff: Client, account: Account) -> None:
    key, _ = keys.issue(account_id=account.pk, name="laptop")
    keys.issue(account_id=account.pk, grants=Grants(expires_at=timezone.now() - timedelta(seconds=1)))
    keys.revoke(key_id=keys.issue(account_id=account.pk)[0].pk)
    listed = page(staff, KEYS)
    assert 'value="revoke"' in listed
    assert all(f">{state}<" in listed for state in ("live", "expired", "revoked"))
    for search in ("laptop", key.prefix, key.last_four):
        assert str(key) in page(staff, f"{KEYS}?q={search}")
    assert "0 API keys" in page(staff, f"{KEYS}?q=nothing")
