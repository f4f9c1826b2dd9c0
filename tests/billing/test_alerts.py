"""Alerts of a balance and of keys: told once, as soon as they hold, and again when they hold again."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from billing import alerts, keys, ledger
from billing.alert_models import AlertSettings
from billing.grants import Grants
from billing.models import Account, ApiKey
from tests import factories, movements

pytestmark = pytest.mark.django_db


def want(
    account: Account, *, low_micros: int | None = None, percents: tuple[int, ...] = (50, 80, 100)
) -> None:
    alerts.put(
        account_id=account.pk, low_balance_micros=low_micros, percents=percents, email="ada@example.com"
    )


def low() -> list[tuple[int, int, int]]:
    """Return what is told of balances now."""
    with transaction.atomic():
        told = alerts.take_low_balances()
    return [(each.account_id, each.threshold_micros, each.balance_micros) for each in told]


def spending() -> list[tuple[int, int]]:
    """Return what is told of keys now, where the lowest price is 100 micros."""
    with transaction.atomic():
        return [(each.key_id, each.percent) for each in alerts.take_key_spending(lowest_micros=100)]


def spend(account: Account, micros: int, key_id: int | None = None) -> None:
    held = movements.hold(account_id=account.pk, quote_micros=micros, api_key_id=key_id)
    movements.settle(reservation_id=held.reservation_id, cost_micros=micros)


def top_up(account: Account, micros: int) -> None:
    ledger.top_up(account_id=account.pk, amount_micros=micros, actor="test", reason="more")


def test_a_low_balance_is_told_once_and_again_after_it_was_back() -> None:
    account, quiet = factories.account(balance_micros=1000), factories.account(balance_micros=0)
    want(account, low_micros=1000)
    assert low() == []
    spend(account, 100)
    assert low() == [(account.pk, 1000, 900)]
    spend(account, 100)
    assert low() == []
    top_up(account, 500)
    assert low() == []
    spend(account, 400)
    assert low() == [(account.pk, 1000, 900)]
    assert not AlertSettings.objects.filter(account=quiet).exists()


def test_another_amount_is_told_again_and_the_same_one_is_not() -> None:
    account = factories.account(balance_micros=900)
    want(account, low_micros=1000)
    assert len(low()) == 1
    want(account, low_micros=1000, percents=())
    assert low() == []
    want(account, low_micros=2000)
    assert low() == [(account.pk, 2000, 900)]
    want(account)
    assert low() == []


def limited(account: Account, period: str = "total") -> int:
    """Issue a key that may spend 1000 micros in a period, and return its id."""
    key, _ = keys.issue(account_id=account.pk, grants=Grants(spend_limit_micros=1000, spend_period=period))
    return key.pk


def test_each_percentage_of_a_key_is_told_once_and_only_the_highest_of_several() -> None:
    account = factories.account()
    want(account)
    key_id = limited(account)
    spend(account, 400, key_id)
    assert spending() == []
    movements.hold(account_id=account.pk, quote_micros=100, api_key_id=key_id)
    assert spending() == [(key_id, 50)]
    assert spending() == []
    spend(account, 300, key_id)
    assert spending() == [(key_id, 80)]
    spend(account, 200, key_id)
    assert spending() == [(key_id, 100)]
    assert spending() == []
    other = limited(account)
    spend(account, 800, other)
    assert spending() == [(other, 80)]


def test_a_key_that_cannot_pay_another_image_has_reached_its_limit() -> None:
    account = factories.account()
    want(account, percents=(100,))
    key_id = limited(account)
    spend(account, 900, key_id)
    assert spending() == []
    with transaction.atomic():
        [told] = alerts.take_key_spending(lowest_micros=200)
    assert (told.key_id, told.percent, told.email) == (key_id, 100, "ada@example.com")


def test_a_new_period_is_told_anew() -> None:
    account = factories.account()
    want(account, percents=(50,))
    key_id = limited(account, period="day")
    spend(account, 600, key_id)
    assert spending() == [(key_id, 50)]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ApiKey.objects.filter(pk=key_id).update(counted_since=yesterday, told_since=yesterday)
    spend(account, 600, key_id)
    assert spending() == [(key_id, 50)]


def test_nothing_is_told_of_revoked_keys_or_without_settings() -> None:
    account, other = factories.account(), factories.account()
    want(account)
    revoked, untold = limited(account), limited(other)
    for owner, key_id in ((account, revoked), (other, untold)):
        spend(owner, 900, key_id)
    keys.revoke(key_id=revoked)
    assert spending() == []


def test_what_holds_now_is_listed() -> None:
    account = factories.account(balance_micros=2000)
    key_id = limited(account)
    spend(account, 900, key_id)
    assert list(alerts.list_current(account)) == []
    want(account, low_micros=1500)
    account.refresh_from_db()
    assert list(alerts.list_current(account)) == [
        {"type": "low_balance", "threshold": "0.0015"},
        {"type": "key_spend_limit", "key_id": key_id, "percent": 80},
    ]


@pytest.mark.parametrize("percents", [(0,), (101,), tuple(range(1, 12))])
def test_percentages_that_make_no_sense_are_refused(account: Account, percents: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="percentages"):
        want(account, percents=percents)
