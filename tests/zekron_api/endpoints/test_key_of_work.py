"""Work names the key that asked for it, and no key holds money once it is revoked or expired."""

import base64
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from billing import audit, keys, recent_keys
from billing.grants import DEFAULT_GRANTS
from billing.models import Account, ApiKey, LedgerEntry
from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.database import start_elsewhere
from tests.images import halves, saved
from tests.zekron_api.callers import Caller
from workers.audit import rows
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def key(me: Caller) -> ApiKey:
    """Return the row of the caller's key."""
    return keys.find(text=me.key)


def test_generation_and_hold_name_the_key_and_the_settlement_none(
    me: Caller, key: ApiKey, engine: factories.StandInEngine
) -> None:
    other, text = keys.issue(account_id=me.account.pk)
    assert me.generate(n=2).status_code == 200
    assert me._replace(key=text).generate().status_code == 200
    asked = list(Generation.objects.order_by("pk").values_list("api_key_id", flat=True))
    assert asked == [key.pk, key.pk, other.pk]
    entries = LedgerEntry.objects.filter(reservation__isnull=False).order_by("sequence")
    holds = [entry.api_key_id for entry in entries if entry.kind == "hold"]
    assert holds == asked
    assert {entry.api_key_id for entry in entries if entry.kind != "hold"} == {None}
    assert list(audit.audit()) == list(rows.find_disagreements()) == []


@pytest.mark.parametrize(
    "change",
    [{"revoked_at": PAST}, {"expires_at": PAST}, {"revoked_at": PAST, "expires_at": PAST}],
    ids=str,
)
def test_a_key_that_another_process_ended_holds_nothing_although_it_is_remembered(
    me: Caller, key: ApiKey, idle_worker: None, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "recent_keys", recent_keys.RecentKeys())
    assert me.post("/v1/quote", {"prompt": "a boat"}).status_code == 200
    ApiKey.objects.filter(pk=key.pk).update(**change)
    assert me.post("/v1/quote", {"prompt": "a boat"}).status_code == 200
    for body in (
        {},
        {"n": 2},
        {"async": True},
        {"images": [{"data": base64.b64encode(saved(halves(64, 64))).decode()}]},
    ):
        assert refusal(me.generate(**body)) == (401, "invalid_api_key")
    assert not Generation.objects.exists()
    assert not StoredImage.objects.exists()
    assert not LedgerEntry.objects.filter(kind="hold").exists()


def test_a_key_that_is_revoked_while_the_hold_waits_for_the_account_holds_nothing(
    me: Caller, key: ApiKey
) -> None:
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=me.account.pk)
        waiting = start_elsewhere(partial(factories.submit, me.account, api_key_id=key.pk))
        start_elsewhere(partial(keys.revoke, key_id=key.pk)).result(10)
        assert not waiting.done()
        # The row is another one after the wait, or the same.
        Account.objects.filter(pk=me.account.pk).update(name="renamed")
    with pytest.raises(keys.InvalidKey):
        waiting.result(10)
    assert not Generation.objects.exists()


def test_nobody_waits_to_note_the_use_of_a_key(me: Caller, key: ApiKey) -> None:
    with transaction.atomic():
        ApiKey.objects.select_for_update().get(pk=key.pk)
        assert start_elsewhere(partial(keys.authenticate, text=me.key)).result(10).id == key.pk
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None


def test_a_key_of_another_account_holds_nothing_of_this_one(me: Caller) -> None:
    owner = factories.account()
    with pytest.raises(keys.InvalidKey):
        factories.submit(owner, api_key_id=keys.find(text=me.key).pk)
    assert not Generation.objects.exists()


def test_the_audit_finds_a_generation_that_names_another_key_than_its_hold(me: Caller, key: ApiKey) -> None:
    generation = factories.submit(me.account, api_key_id=key.pk)
    other, _ = keys.issue(account_id=factories.account().pk)
    assert list(rows.find_disagreements()) == []
    Generation.objects.filter(pk=generation.pk).update(api_key=other)
    found = "\n".join(rows.find_disagreements())
    assert f"was asked for by key {other.pk}, and its hold by key {key.pk}" in found
    assert f"its key {other.pk} is of account {other.account_id}" in found


def test_the_time_of_the_last_use_is_written_once_in_fifty_seconds(me: Caller, key: ApiKey) -> None:
    def last_use() -> datetime | None:
        return ApiKey.objects.get(pk=key.pk).last_used_at

    assert last_use() is None
    start = datetime.now(UTC)
    keys.authenticate(text=me.key)
    first = last_use()
    assert first is not None
    assert abs(first - start) < timedelta(minutes=5)
    for seconds, expected in ((0, 0), (49.9, 0), (50, 50), (99, 50), (120, 120)):
        keys.authenticate(text=me.key, now=first + timedelta(seconds=seconds))
        assert last_use() == first + timedelta(seconds=expected), seconds


def test_a_use_that_is_refused_is_none(me: Caller, key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=PAST)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=me.key)
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None


def test_a_use_that_cannot_be_noted_is_a_use(
    me: Caller, key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_NOTE_USE", "SELECT 1 / 0")
    assert keys.authenticate(text=me.key) == (key.pk, me.account, DEFAULT_GRANTS)
    assert me.get("/v1/balance").status_code == 200
    assert ApiKey.objects.get(pk=key.pk).last_used_at is None
