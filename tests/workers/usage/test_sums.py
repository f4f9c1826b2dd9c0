"""Export, ledger, balance and usage say the same of any history and any range."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import LedgerEntry
from tests import factories
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.audit import rows as audit
from workers.models import Status, UsageHour
from workers.usage import entries, entry_times, export, queries

HOUR = timedelta(hours=1)
# Each history begins after the one before it has ended, because the ledger has all of them in the order of their times.
BEGINNINGS = (datetime(2001, 3, 1, tzinfo=UTC) + timedelta(days=30 * number) for number in itertools.count())
Kind = LedgerEntry.Kind

# A step of a history: how long after the one before it, what, and of which size.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 59, 60, 1800, 3599, 3600, 7200, 90_000]),
        st.sampled_from([*Status.values[2:], "top_up", "refund", "completed", "early"]),
        st.sampled_from([512, 768]),
    ),
    min_size=1,
    max_size=6,
)
TIMES = st.integers(0, 8 * 90_000).map(lambda seconds: timedelta(seconds=seconds))


def live_through(history: History, at: datetime, steps: list[tuple[int, str, int]]) -> None:
    for seconds, what, width in steps:
        at += timedelta(seconds=seconds)
        if what == "top_up":
            history.top_up(at)
        elif what == "refund":
            history.refund(at, 100_000)
        elif what == "early":
            # It waited for the account's lock, so that its time is before that of the entry before it.
            history.top_up(at - timedelta(seconds=30), 300)
        else:
            history.end(at, status=Status(what), width=width, wait_seconds=0.5, make_seconds=0.4)
    history.write_times()


def settled(account_id: int, start: datetime, end: datetime) -> int:
    found = LedgerEntry.objects.filter(
        account_id=account_id, kind=Kind.SETTLE, created_at__gte=start, created_at__lt=end
    )
    return found.aggregate(sum=Sum("amount_micros"))["sum"] or 0


def moved(account_id: int, kind: LedgerEntry.Kind, start: datetime, end: datetime) -> int:
    """Return the sum of the entries of a kind, page by page of the ledger's endpoint."""
    total, before = 0, None
    while True:
        page = entries.find_page(
            account_id=account_id, kind=kind, start=start, end=end, before=before, limit=2
        )
        total += sum(entry.row.amount_micros for entry in page.entries)
        before = page.next_before
        if before is None:
            return total


@pytest.mark.slow
@pytest.mark.django_db
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, times=st.tuples(TIMES, TIMES), closed=st.integers(0, 4), entries_a_page=st.integers(1, 4))
def test_export_ledger_balance_and_usage_are_equal_for_any_range(
    steps: Any, times: tuple[timedelta, timedelta], closed: int, entries_a_page: int
) -> None:
    beginning = next(BEGINNINGS)
    while roll_up_when_quiet(now=beginning):
        pass
    history = History(factories.account(), opened_at=beginning)
    live_through(history, beginning, steps)
    roll_up_when_quiet(max_hours=closed, now=beginning + timedelta(days=20))
    owner, (start, end) = history.owner.pk, (beginning + min(times), beginning + max(times))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "ENTRIES_A_PAGE", entries_a_page)
        patch.setattr(entries, "MAX_ENTRIES_PER_PAGE", entries_a_page)
        charges = [
            each for page in export.read_pages(account_id=owner, start=start, end=end) for each in page
        ]
        credit, refund, spent = (
            moved(owner, kind, start, end) for kind in (Kind.CREDIT, Kind.REFUND, Kind.SETTLE)
        )
    assert [charge.entry for charge in charges] == sorted({charge.entry for charge in charges})
    exported = sum(charge.cost_micros for charge in charges)
    before, after = (entry_times.read_balance(account_id=owner, at=at) for at in (start, end))
    assert exported == spent == settled(owner, start, end)
    assert after - before == credit - refund - exported
    hours = [at.replace(minute=0, second=0) for at in (start, end + HOUR)]
    expected = settled(owner, *hours)
    for bucket in ("hour", "day", "month"):
        usage = queries.read(account_id=owner, start=hours[0], end=hours[1], bucket=bucket, group_by=["size"])
        assert queries.add(usage).cost_micros == expected
        assert sum(queries.add(usage).wait_counts) == queries.add(usage).completed
    by_metadata = queries.read(account_id=owner, start=hours[0], end=hours[1], bucket="day", metadata="a")
    assert queries.add(by_metadata).cost_micros == expected
    assert list(audit.find_disagreements()) == []
    rolled = (
        UsageHour.objects.aggregate(ended=Sum(F("completed") + F("failed") + F("cancelled")))["ended"] or 0
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM workers_generation, workers_usageprogress WHERE ended_at < closed_until"
        )
        assert cursor.fetchone() == (rolled,)
