"""A round of the roll-up and the queries of an account look at their own rows, however many others there are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from billing.models import LedgerEntry
from tests import factories
from tests.workers.lifecycle.plans import Plan, plans_of
from tests.workers.usage import crowd
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.models import Status, UsageProgress
from workers.usage import entries, entry_times, export, monthly_statement, queries

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# Twenty generations an hour end, of all accounts together.
DAYS, CROWD = 25, 12_000
LARGE = {"billing_ledgerentry", "billing_reservation", "workers_generation"}
MINE = 12


@pytest.fixture
def history() -> History:
    """Return the history of an account that has few entries after those of many others."""
    # The crowd comes first, so that its entries are before those of the account.
    crowd.fill(count=CROWD, start=START, end=START + DAYS * DAY)
    end = START + DAYS * DAY
    history = History(factories.account(), opened_at=end)
    for hours in range(MINE):
        history.end(end + hours * HOUR, status=Status.FAILED if hours % 3 else Status.COMPLETED)
    history.write_times()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE billing_ledgerentry")
    return history


def refuse_costly(work: Callable[[], Any], *, rows: int) -> None:
    plans = plans_of(work)
    assert plans
    for plan in plans:
        assert not plan.read_whole & LARGE, str(plan)
        assert _rows_of_tables(plan) <= rows, str(plan)


def _rows_of_tables(plan: Plan) -> int:
    """Count the rows that were found in a table or an index. The buckets of histograms are rows of functions."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in plan.nodes()
        if "Relation Name" in node or "Index Name" in node
    )


def test_every_statement_looks_at_its_own_rows_alone(history: History) -> None:
    check_small_account(history)
    check_large_account()


def check_small_account(history: History) -> None:
    owner, end = history.owner.pk, START + DAYS * DAY
    whole: dict[str, Any] = {"account_id": owner, "start": START, "end": end + DAY}
    # Each search reads as many entries as their number has binary digits.
    mine = 6 * MINE
    for metadata in (None, "a"):
        refuse_costly(partial(queries.read, **whole, bucket="day", metadata=metadata), rows=mine)
    refuse_costly(lambda: list(export.read_pages(**whole)), rows=mine)
    for kind in (None, *LedgerEntry.Kind):
        refuse_costly(partial(entries.find_page, **whole, kind=kind, before=None, limit=20), rows=mine)
    refuse_costly(lambda: entry_times.read_balance(account_id=owner, at=end + HOUR), rows=mine)
    # A round about the middle, of which the hour has twenty generations with two entries each. Those of some minutes
    # before and after are looked at, too.
    middle = START + DAYS // 2 * DAY
    UsageProgress.objects.create(closed_until=middle)
    refuse_costly(lambda: roll_up_when_quiet(max_hours=1, now=end + DAY), rows=150)
    assert UsageProgress.objects.get().closed_until == middle + HOUR
    # A month that is closed reads the account's hours and its few entries.
    UsageProgress.objects.update(closed_until=end - HOUR)
    while roll_up_when_quiet(now=end + 60 * DAY):
        pass
    history.owner.created_at = START
    refuse_costly(lambda: monthly_statement.make(account=history.owner, year=2026, month=1), rows=mine)


def check_large_account() -> None:
    large = LedgerEntry.objects.filter(kind="release").order_by("pk")[CROWD // 2].account_id
    middle = START + DAYS // 2 * DAY
    found: dict[str, Any] = {"account_id": large, "start": middle, "end": middle + DAY}
    refuse_costly(lambda: entries.find_page(**found, kind=None, before=None, limit=5), rows=40)
    refuse_costly(lambda: list(export.read_pages(**found)), rows=40)
    refuse_costly(lambda: queries.read(**found, bucket="day"), rows=40)
    # None of its entries is of a person, and the index knows that.
    refuse_costly(
        lambda: entries.find_page(
            account_id=large, kind=LedgerEntry.Kind.CREDIT, start=None, end=None, before=None, limit=5
        ),
        rows=1,
    )
