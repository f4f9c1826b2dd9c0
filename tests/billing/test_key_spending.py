"""A key never holds or spends more than its own limits, and its counters follow every movement."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing import audit, holds, key_changes, key_spending, keys
from billing.grants import Grants
from billing.key_spending import KeySpendLimit, KeyTooManyHolds
from billing.models import Account, ApiKey, Reservation
from tests import factories, movements

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def issue(
    account: Account, *, micros: int | None = 1000, period: str = "total", open_limit: int | None = None
) -> int:
    """Issue a key with these limits, and return its id."""
    grants = Grants(spend_limit_micros=micros, spend_period=period, open_limit=open_limit)
    key, _ = keys.issue(account_id=account.pk, grants=grants)
    return key.pk


def hold(account: Account, key_id: int, micros: int = 400) -> int:
    """Hold the amount for the key, and return the reservation's id."""
    return movements.hold(account_id=account.pk, quote_micros=micros, api_key_id=key_id).reservation_id


def counters(key_id: int) -> tuple[int, int, int]:
    """Return the counts of open holds, of what they hold, and of what was spent."""
    key = ApiKey.objects.get(pk=key_id)
    return key.open_hold_count, key.held_micros, key.spent_micros


def move_into_the_past(key_id: int, days: int = 40) -> None:
    """Let all that the key has done have happened so many days ago."""
    past = timedelta(days=days)
    ApiKey.objects.filter(pk=key_id).update(counted_since=NOW - past)
    Reservation.objects.filter(api_key_id=key_id).update(created_at=NOW - past)


def test_what_is_held_counts_until_it_is_released_and_what_is_spent_counts_on(account: Account) -> None:
    key_id = issue(account)
    first, second = hold(account, key_id), hold(account, key_id, 600)
    assert counters(key_id) == (2, 1000, 0)
    with pytest.raises(KeySpendLimit, match=r"may spend 0\.0010 USD in total"):
        hold(account, key_id, 100)
    movements.settle(reservation_id=first, cost_micros=300)
    assert counters(key_id) == (1, 600, 300)
    hold(account, key_id, 100)
    holds.release(reservation_id=second)
    assert counters(key_id) == (1, 100, 300)
    with pytest.raises(KeySpendLimit):
        hold(account, key_id, 700)
    hold(account, key_id, 600)
    assert list(audit.audit()) == []


def test_one_request_for_several_counts_them_all(account: Account) -> None:
    key_id = issue(account, micros=1200, open_limit=3)
    ask: dict[str, Any] = {"account_id": account.pk, "quote_micros": 400, "api_key_id": key_id}
    with pytest.raises(KeyTooManyHolds) as refusal:
        movements.hold_all(**ask, count=4)
    assert refusal.value.limit == 3
    movements.hold_all(**ask, count=3)
    assert counters(key_id) == (3, 1200, 0)


def test_a_key_without_a_limit_counts_too_and_another_one_does_not(account: Account) -> None:
    key_id, other = issue(account, micros=None), issue(account)
    movements.settle(reservation_id=hold(account, key_id), cost_micros=400)
    assert counters(key_id) == (0, 0, 400)
    assert counters(other) == (0, 0, 0)


def test_a_refused_hold_moves_nothing(account: Account) -> None:
    key_id = issue(account)
    hold(account, key_id, 800)
    before = Account.objects.values().get(pk=account.pk)
    with pytest.raises(KeySpendLimit):
        hold(account, key_id, 300)
    assert Account.objects.values().get(pk=account.pk) == before
    assert counters(key_id) == (1, 800, 0)


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_new_period_begins_at_zero_and_an_old_hold_ends_in_its_own(account: Account, period: str) -> None:
    key_id = issue(account, period=period)
    old = hold(account, key_id, 1000)
    move_into_the_past(key_id)
    assert key_spending.counted_micros(ApiKey.objects.get(pk=key_id), now=NOW) == 0
    hold(account, key_id, 900)
    assert counters(key_id) == (2, 900, 0)
    movements.settle(reservation_id=old, cost_micros=1000)
    assert counters(key_id) == (1, 900, 0)
    assert list(audit.audit()) == []
    with pytest.raises(KeySpendLimit):
        hold(account, key_id, 200)


def test_a_total_has_no_new_period(account: Account) -> None:
    key_id = issue(account)
    movements.settle(reservation_id=hold(account, key_id, 1000), cost_micros=1000)
    ApiKey.objects.filter(pk=key_id).update(counted_since=datetime.fromtimestamp(0, UTC))
    with pytest.raises(KeySpendLimit):
        hold(account, key_id, 100)


def test_a_hold_that_waited_over_midnight_counts_in_the_period_that_has_begun(account: Account) -> None:
    # Another hold, which began after midnight, took the account's row first.
    key_id = issue(account, period="day")
    tomorrow = NOW + timedelta(days=1)
    ApiKey.objects.filter(pk=key_id).update(counted_since=tomorrow, spent_micros=700)
    with pytest.raises(KeySpendLimit):
        hold(account, key_id)
    reservation_id = hold(account, key_id, 300)
    assert counters(key_id) == (1, 300, 700)
    assert Reservation.objects.get(pk=reservation_id).created_at == tomorrow
    movements.settle(reservation_id=reservation_id, cost_micros=200)
    assert counters(key_id) == (0, 0, 900)


def test_a_lower_limit_stops_a_key_that_has_spent_more(account: Account) -> None:
    key_id = issue(account)
    open_one = hold(account, key_id, 900)
    key_changes.change(key_id=key_id, grants={"spend_limit_micros": 500})
    with pytest.raises(KeySpendLimit):
        hold(account, key_id, 100)
    movements.settle(reservation_id=open_one, cost_micros=900)
    assert counters(key_id) == (0, 0, 900)
    key_changes.change(key_id=key_id, grants={"spend_limit_micros": 1000})
    hold(account, key_id, 100)


def test_another_period_counts_from_its_change_on(account: Account) -> None:
    key_id = issue(account, period="month")
    old = hold(account, key_id, 800)
    key_changes.change(key_id=key_id, grants={"spend_period": "day"})
    assert counters(key_id) == (1, 0, 0)
    hold(account, key_id, 1000)
    movements.settle(reservation_id=old, cost_micros=800)
    assert counters(key_id) == (1, 1000, 0)
    assert list(audit.audit()) == []


def test_the_database_refuses_a_hold_that_forgot_the_limit(account: Account) -> None:
    key_id = issue(account)
    hold(account, key_id, 1000)
    with pytest.raises(IntegrityError, match="apikey_within_spend_limit"), transaction.atomic():
        ApiKey.objects.filter(pk=key_id).update(held_micros=1100)


@pytest.mark.django_db(transaction=True)
def test_sixty_four_threads_never_spend_more_than_the_key_may() -> None:
    account = factories.account()
    key_id = issue(account, micros=2000, period="day")
    results = factories.at_once(64, lambda _: hold(account, key_id, 300))
    assert sum(isinstance(result, int) for result in results) == 6
    assert {type(result) for result in results} == {int, KeySpendLimit}
    assert counters(key_id) == (6, 1800, 0)
    assert list(audit.audit()) == []


@pytest.mark.django_db(transaction=True)
def test_sixty_four_threads_never_open_more_than_the_key_may() -> None:
    account = factories.account()
    key_id = issue(account, micros=None, open_limit=5)
    results = factories.at_once(64, lambda _: hold(account, key_id, 300))
    assert sum(isinstance(result, int) for result in results) == 5
    assert {type(result) for result in results} == {int, KeyTooManyHolds}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("open_hold_count = 7", "counts 7 open holds and has 1"),
        ("held_micros = 700", "holds 700 and its open holds are 400 micros"),
        ("spent_micros = 500", "spent 500 and its settlements are 0 micros"),
    ],
)
def test_the_audit_finds_counters_that_do_not_follow_from_the_holds(
    account: Account, change: str, message: str
) -> None:
    key_id = issue(account)
    hold(account, key_id)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE billing_apikey SET {change} WHERE id = {key_id}")  # noqa: S608 (own texts)
    assert list(audit.audit()) == [f"key {key_id}: {message}"]


def test_the_audit_finds_a_hold_that_moved_another_key(account: Account) -> None:
    key_id, other = issue(account), issue(account)
    reservation_id = hold(account, key_id)
    Reservation.objects.filter(pk=reservation_id).update(api_key_id=other)
    assert f"key {other}: has 1 holds whose entries name another key" in list(audit.audit())
