"""The first page of the admin: the numbers of the roll-up, and what is so at this moment."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests import factories
from tests.billing.admin_client import browser_with, page
from tests.browsers import sign_in
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.messaging import redis_client, worker_registry
from workers.messaging.redis_client import connection
from workers.models import Generation, Status
from workers.usage import overview, roll_up

pytestmark = pytest.mark.django_db
INDEX = "/admin/"
HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty_redis() -> None:
    connection().flushdb()


@pytest.fixture
def rolled_up() -> History:
    """Roll up the work of two accounts: three images today, one yesterday, one two weeks ago, and two without image."""
    rich, poor = factories.account(), factories.account(balance_micros=900_000)
    history = History(rich, opened_at=NOON - timedelta(days=20))
    history.end(NOON - timedelta(days=14), make_seconds=1.0)
    history.end(NOON - timedelta(hours=20), make_seconds=1.0)
    for minutes in (5, 10):
        history.end(NOON - HOUR + timedelta(minutes=minutes), wait_seconds=0.5, make_seconds=0.5)
    history.end(NOON - HOUR + timedelta(minutes=20), status=Status.FAILED)
    history.end(NOON - HOUR + timedelta(minutes=30), status=Status.CANCELLED)
    history.write_times()
    other = History(poor, opened_at=NOON - timedelta(days=20))
    other.end(NOON - HOUR + timedelta(minutes=40), wait_seconds=3.0, make_seconds=0.5)
    other.write_times()
    while roll_up_when_quiet(now=NOON + timedelta(minutes=30)):
        pass
    return history


def text(shown: str) -> str:
    """Return the page's text with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))


def test_the_sums_of_each_period_are_those_of_the_roll_up(rolled_up: History) -> None:
    assert roll_up.read_closed_until() == NOON
    day = overview.read_totals(start=NOON - 24 * HOUR, end=NOON)
    assert (day.completed, day.failed, day.cancelled, day.cost_micros) == (4, 1, 1, 4 * 26_700)
    assert day.success_percent == 80
    # The bounds of the histogram's buckets for 0.5 and 3 seconds.
    assert 0.5 <= (day.wait_p50 or 0) <= 0.6
    assert 3.0 <= (day.wait_p95 or 0) <= 4.0
    month = overview.read_totals(start=NOON - 30 * 24 * HOUR, end=NOON)
    assert month.completed == 5
    nothing = overview.read_totals(start=NOON, end=NOON + HOUR)
    assert (nothing.completed, nothing.success_percent, nothing.make_p95) == (0, None, None)


def test_each_hour_has_a_bar_also_without_images(rolled_up: History) -> None:
    hours = overview.read_hours(start=NOON - 3 * HOUR, end=NOON)
    assert hours == [(NOON - 3 * HOUR, 0), (NOON - 2 * HOUR, 0), (NOON - HOUR, 3)]


def test_accounts_are_listed_by_what_they_spent_and_those_with_little_left(rolled_up: History) -> None:
    week = {"start": NOON - 7 * 24 * HOUR, "end": NOON}
    assert [each.completed for each in overview.list_top_accounts(**week)] == [3, 1]
    [low] = overview.list_low_balances(**week, low_micros=1_000_000)
    assert (low.completed, low.available_micros) == (1, 900_000 - 26_700)


def test_a_superuser_sees_money_and_work(rolled_up: History) -> None:
    worker_registry.publish(worker_name="gpu@a")
    browser = Client()
    sign_in(browser, User.objects.create_superuser("ada"))
    shown = text(page(browser, INDEX))
    assert "Revenue until 2026-03-02 12:00:00 UTC" in shown
    assert "today 0.0801 3 1 1" in shown
    assert "30 days 0.1335 5 1 1" in shown
    assert "Success 80.00 %" in shown
    assert "Queued 0" in shown
    assert "Workers 1" in shown
    assert "Last audit none yet" in shown
    assert "Images to purge" in shown


def test_each_part_needs_its_permission(rolled_up: History) -> None:
    shown = text(page(browser_with("view_generation"), INDEX))
    assert ("Queued" in shown, "Revenue" in shown) == (True, False)


def test_without_a_permission_there_is_no_overview() -> None:
    shown = text(page(browser_with("view_apikey"), INDEX))
    assert ("Queued" in shown, "Revenue" in shown) == (False, False)


def test_the_page_works_before_the_first_roll_up_and_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factories.submit(factories.account())
    Generation.objects.update(created_at=datetime.now(UTC) - timedelta(seconds=7))

    def away() -> None:
        raise redis_client.RedisUnavailable

    monkeypatch.setattr("workers.audit.scheduled.redis_client.connection_or_unavailable", away)
    browser = Client()
    sign_in(browser, User.objects.create_superuser("ada"))
    shown = text(page(browser, INDEX))
    assert "Queued 1, the oldest for" in shown
    assert "Workers unknown: Redis is away" in shown
    assert "Success no work" in shown
