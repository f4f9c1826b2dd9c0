"""The hourly roll-up: each hour once, only when it is complete, and equal to the ledger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing import keys
from tests import factories
from tests.database import start_elsewhere
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.audit import rows as audit
from workers.models import Status, UsageHour, UsageProgress
from workers.usage import roll_up
from workers.usage.histograms import BUCKET_COUNT

HOUR = timedelta(hours=1)
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def history() -> History:
    """Return the history of a new account."""
    return History(factories.account(), opened_at=NINE + 6 * MINUTE)


def rolled_up() -> list[dict[str, Any]]:
    return [dict(row) for row in UsageHour.objects.order_by("hour", "model", "kind", "size").values()]


@pytest.mark.django_db
def test_an_hour_has_the_counts_and_the_cost_of_each_group(history: History) -> None:
    key, _ = keys.issue(account_id=history.owner.pk)
    history.end(NINE + 10 * MINUTE, wait_seconds=2.2, make_seconds=0.35)
    history.end(NINE + 20 * MINUTE, wait_seconds=2.7)
    history.end(NINE + 21 * MINUTE, api_key_id=key.pk, width=768)
    history.end(NINE + 22 * MINUTE, status=Status.FAILED)
    history.end(NINE + 23 * MINUTE, status=Status.CANCELLED)
    history.end(NINE + 70 * MINUTE)
    history.write_times()
    assert roll_up_when_quiet(now=NINE + 3 * HOUR) == 2
    first, with_key, later = rolled_up()
    assert [row["hour"] for row in (first, with_key, later)] == [NINE, NINE, NINE + HOUR]
    assert (first["completed"], first["failed"], first["cancelled"]) == (2, 1, 1)
    assert (first["cost_micros"], first["size"], first["api_key_id"]) == (53_400, "512x512", None)
    assert (with_key["api_key_id"], with_key["size"], with_key["completed"]) == (key.pk, "768x512", 1)
    # 2.2 s are between 2 and 2.5 s, 2.7 s between 2.5 and 3 s, and 0.35 s between 0.3 and 0.4 s.
    assert {i: n for i, n in enumerate(first["wait_counts"]) if n} == {11: 1, 12: 1}
    assert {i: n for i, n in enumerate(first["make_counts"]) if n} == {3: 1, 8: 1}
    assert len(first["wait_counts"]) == len(first["make_counts"]) == BUCKET_COUNT
    assert list(audit.find_disagreements()) == []


@pytest.mark.django_db
def test_the_ledgers_entry_decides_the_hour(history: History) -> None:
    generation = history.end(NINE + HOUR + timedelta(seconds=1))
    history.write_times()
    # It ended in this hour, and its charge was written with a time of the hour before.
    type(generation).objects.filter(pk=generation.pk).update(ended_at=NINE - HOUR)
    roll_up_when_quiet(now=NINE + 3 * HOUR)
    assert [row["hour"] for row in rolled_up()] == [NINE + HOUR]


@pytest.mark.django_db
def test_an_hour_is_closed_only_after_its_end_and_the_grace(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    assert roll_up_when_quiet(now=NINE + HOUR + roll_up.GRACE - timedelta(seconds=1)) == 0
    assert rolled_up() == []
    assert roll_up_when_quiet(now=NINE + HOUR + roll_up.GRACE) == 1
    assert [row["hour"] for row in rolled_up()] == [NINE]


@pytest.mark.django_db
def test_a_second_round_changes_nothing(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    roll_up_when_quiet(now=NINE + 2 * HOUR)
    before = rolled_up()
    assert before
    assert roll_up_when_quiet(now=NINE + 2 * HOUR) == 0
    assert rolled_up() == before


@pytest.mark.django_db
def test_a_round_is_bounded_and_the_next_one_goes_on(history: History) -> None:
    for hours in range(5):
        history.end(NINE + hours * HOUR + 30 * MINUTE)
    history.write_times()
    for closed_hours in (2, 4, 5):
        assert roll_up_when_quiet(max_hours=2, now=NINE + 6 * HOUR) > 0
        assert UsageProgress.objects.get().closed_until == NINE + closed_hours * HOUR
    assert roll_up_when_quiet(max_hours=2, now=NINE + 6 * HOUR) == 0
    assert [row["hour"] for row in rolled_up()] == [NINE + hours * HOUR for hours in range(5)]


@pytest.mark.django_db
def test_months_without_an_entry_take_one_step(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.end(NINE + 100 * 24 * HOUR + 30 * MINUTE)
    history.write_times()
    assert roll_up_when_quiet(now=NINE + 300 * 24 * HOUR + HOUR) < 7
    assert UsageProgress.objects.get().closed_until == NINE + 300 * 24 * HOUR
    assert [row["hour"] for row in rolled_up()] == [NINE, NINE + 100 * 24 * HOUR]
    assert list(audit.find_disagreements()) == []


@pytest.mark.django_db
def test_an_empty_ledger_has_nothing_to_roll_up() -> None:
    assert roll_up_when_quiet(now=NINE) == 0
    assert not UsageProgress.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_hour_waits_for_the_transaction_that_may_still_add_to_it(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    # The next round writes nothing before its mark, so that the transaction is the newest one.
    roll_up.roll_up(max_hours=0, now=NINE + 6 * MINUTE)
    with transaction.atomic():
        # It has an id and is older than the mark. What it has written is not visible yet.
        history.end(NINE + 50 * MINUTE, status=Status.FAILED)
        history.write_times()
        assert start_elsewhere(lambda: roll_up.roll_up(now=NINE + 2 * HOUR)).result() == 0
        assert UsageProgress.objects.get().pending_until == NINE + HOUR
    assert roll_up_when_quiet(now=NINE + 2 * HOUR) == 1
    assert [(row["completed"], row["failed"]) for row in rolled_up()] == [(1, 1)]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_began_later_delays_no_hour(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    assert roll_up.roll_up(max_hours=0, now=NINE + 2 * HOUR) == 0
    with transaction.atomic():
        history.end(NINE + 2 * HOUR + 50 * MINUTE, status=Status.FAILED)
        # A transaction after it has ended, so that a snapshot knows of the open one.
        start_elsewhere(factories.account).result()
        assert start_elsewhere(lambda: roll_up.roll_up(now=NINE + 2 * HOUR)).result() == 1


@pytest.mark.django_db(transaction=True)
def test_rounds_at_once_count_each_hour_once(history: History) -> None:
    for hour in range(4):
        history.end(NINE + hour * HOUR + 10 * MINUTE)
    history.write_times()
    roll_up_when_quiet(max_hours=0, now=NINE + 6 * HOUR)
    closed = factories.at_once(3, lambda _: roll_up.roll_up(now=NINE + 6 * HOUR))
    assert sum(closed) == 5
    assert [row["completed"] for row in rolled_up()] == [1, 1, 1, 1]


@pytest.mark.django_db
def test_an_id_of_another_server_is_replaced(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    roll_up.roll_up(max_hours=0, now=NINE + 2 * HOUR)
    UsageProgress.objects.update(pending_xid=2**60)
    roll_up.roll_up(max_hours=0, now=NINE + 2 * HOUR)
    # Under the other id every open transaction would delay the hour.
    assert UsageProgress.objects.get().pending_xid < 2**60
    assert roll_up_when_quiet(now=NINE + 2 * HOUR) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        "completed = completed + 1",
        "cost_micros = cost_micros + 100",
        "failed = failed + 1",
        "hour = hour + interval '1 hour'",
        "hour = hour + interval '1 year'",
    ],
)
def test_the_audit_names_an_hour_that_differs_from_the_ledger(history: History, change: str) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    roll_up_when_quiet(now=NINE + 3 * HOUR)
    assert list(audit.find_disagreements()) == []
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE workers_usagehour SET {change}")  # noqa: S608
    found = list(audit.find_disagreements())
    assert found
    assert all(f"usage of account {history.owner.pk}" in line for line in found)


@pytest.mark.django_db
def test_the_audit_names_an_hour_that_is_missing(history: History) -> None:
    history.end(NINE + 10 * MINUTE, status=Status.FAILED)
    history.write_times()
    roll_up_when_quiet(now=NINE + 3 * HOUR)
    UsageHour.objects.all().delete()
    assert len(list(audit.find_disagreements())) == 1


@pytest.mark.django_db
def test_the_database_refuses_an_hour_twice(history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    roll_up_when_quiet(now=NINE + 2 * HOUR)
    [row] = UsageHour.objects.all()
    row.pk = None
    with pytest.raises(IntegrityError, match="usage_hour_once"):
        row.save()
