"""Keys on the admin's pages: issued, shown once, revoked."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from billing import keys
from billing.grants import Grants
from billing.models import Account, ApiKey
from tests.billing.admin_client import KEYS, act, page

pytestmark = pytest.mark.django_db


def test_a_new_key_is_shown_exactly_once(staff: Client, account: Account) -> None:
    reply = staff.post(
        f"{KEYS}add/", {"account": account.pk, "name": "laptop", "expires_at_0": "", "expires_at_1": ""}
    )
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
    data = {"account": account.pk, "expires_at_0": ahead.date().isoformat(), "expires_at_1": "12:00:00"}
    assert "zk_live_" in staff.post(f"{KEYS}add/", data).content.decode()
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.date() == ahead.date()


@pytest.mark.parametrize(
    "data", [{"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, {"account": "404"}]
)
def test_a_key_that_makes_no_sense_is_not_issued(
    staff: Client, account: Account, data: dict[str, str]
) -> None:
    reply = staff.post(f"{KEYS}add/", {"account": account.pk, "name": "", **data})
    assert reply.status_code == 200
    assert "zk_live_" not in reply.content.decode()
    assert not ApiKey.objects.exists()


def test_keys_are_revoked_and_never_edited_or_deleted(staff: Client, account: Account) -> None:
    key, text = keys.issue(account_id=account.pk)
    assert f"Key {key} is revoked." in act(staff, KEYS, "revoke", key.pk)
    assert "already revoked" in act(staff, KEYS, "revoke", key.pk)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)
    assert staff.post(f"{KEYS}{key.pk}/change/", {"account": account.pk, "name": "x"}).status_code == 403
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
