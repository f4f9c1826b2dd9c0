"""The monthly statements on the page Billing: which months it lists, and what their links open."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.workers.usage.histories import History, roll_up_when_quiet
from tests.zekron_api.console.people import member, signed_in

pytestmark = pytest.mark.django_db

NINE = datetime(2025, 12, 30, 9, tzinfo=UTC)


@pytest.fixture
def account() -> Account:
    opened = factories.account()
    Account.objects.filter(pk=opened.pk).update(created_at=NINE)
    return opened


@pytest.fixture
def viewer(account: Account) -> Client:
    return signed_in(member(account, Role.VIEWER))


def roll_up_until(end: datetime) -> None:
    while roll_up_when_quiet(now=end + timedelta(hours=1), max_hours=24 * 40):
        pass


def test_each_month_that_is_over_has_a_statement(account: Account, viewer: Client) -> None:
    history = History(account, opened_at=NINE)
    history.end(datetime(2026, 1, 15, tzinfo=UTC))
    history.write_times()
    page = f"/console/{account.pk}/billing"
    assert "appears here a few minutes after the month ends" in viewer.get(page).content.decode()
    roll_up_until(datetime(2026, 2, 1, tzinfo=UTC))
    content = viewer.get(page).content.decode()
    assert content.index("January 2026") < content.index("December 2025")
    assert "February 2026" not in content
    for month, line in (("2026-01", b"0.0267"), ("2025-12", b"10.0000")):
        address = f"/console/{account.pk}/api/statements/{month}"
        assert f'href="{address}"' in content
        assert line in viewer.get(address).content
        csv = viewer.get(f"{address}?format=csv")
        assert csv["Content-Disposition"] == f'attachment; filename="statement-{month}.csv"'


def test_a_statement_of_strangers_is_not_found(account: Account) -> None:
    stranger = signed_in(member(factories.account()))
    response = stranger.get(f"/console/{account.pk}/api/statements/2026-01")
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()
