"""Threads with connections and commits of their own: money is spent and resolved once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction

from billing import audit, holds, ledger
from billing.models import Account, LedgerEntry
from tests import movements
from tests.database import start_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)
QUOTE = 26_700


def race(tasks: Sequence[Callable[[], object]]) -> list[object]:
    """Start all at one moment, each in a thread with a transaction; return what each returned or raised."""
    start = Barrier(len(tasks))

    def run(task: Callable[[], object]) -> object:
        try:
            start.wait(timeout=30)
            with transaction.atomic():
                return task()
        except Exception as error:  # noqa: BLE001 - what was raised is the outcome that the test counts
            return type(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def test_64_holds_against_money_for_25_are_exactly_25() -> None:
    account = ledger.open_account(name="racer", opening_micros=25 * QUOTE + 26_600, actor="test")
    outcomes = race([lambda: movements.hold(account_id=account.pk, quote_micros=QUOTE)] * 64)
    account.refresh_from_db()
    assert sum(isinstance(outcome, movements.Hold) for outcome in outcomes) == 25
    assert outcomes.count(ledger.InsufficientBalance) == 39
    assert (account.reserved_micros, account.available_micros) == (25 * QUOTE, 26_600)
    assert list(audit.audit()) == []


def test_64_holds_under_a_limit_of_5_are_exactly_5(account: Account) -> None:
    outcomes = race([lambda: movements.hold(account_id=account.pk, quote_micros=100, open_limit=5)] * 64)
    assert sorted(outcome.number for outcome in outcomes if isinstance(outcome, movements.Hold)) == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert outcomes.count(holds.TooManyHolds) == 59
    assert list(audit.audit()) == []


@pytest.mark.parametrize("rivals", [("settle", "settle"), ("settle", "release"), ("release", "release")])
def test_of_two_that_resolve_one_reservation_one_wins(account: Account, rivals: tuple[str, str]) -> None:
    tasks: dict[str, Callable[[int], object]] = {
        "settle": lambda pk: movements.settle(reservation_id=pk, cost_micros=25_000),
        "release": lambda pk: holds.release(reservation_id=pk),
    }
    for _ in range(10):
        with transaction.atomic():
            reservation = movements.hold(account_id=account.pk, quote_micros=QUOTE)
        pk = reservation.reservation_id
        outcomes = race([partial(tasks[kind], pk) for kind in rivals * 2])
        assert sorted(map(str, outcomes)) == sorted(map(str, [None] + [holds.AlreadyResolved] * 3))
        assert LedgerEntry.objects.filter(reservation=pk).count() == 2
    assert list(audit.audit()) == []


def test_refunds_and_holds_never_spend_the_same_money(account: Account) -> None:
    move: dict[str, Any] = {"account_id": account.pk, "amount_micros": 1_000_000, "actor": "a", "reason": "r"}
    refunds: list[Callable[[], object]] = [lambda: ledger.refund(**move)] * 8
    holds: list[Callable[[], object]] = [
        lambda: movements.hold(account_id=account.pk, quote_micros=1_000_000)
    ] * 8
    outcomes = race(refunds + holds)
    assert outcomes.count(ledger.InsufficientBalance) == 6
    assert list(audit.audit()) == []


@pytest.mark.parametrize(
    ("move", "outcome"), [(ledger.refund, ledger.InsufficientBalance), (ledger.top_up, LedgerEntry)]
)
def test_money_moves_after_the_hold_that_is_open_and_by_what_it_left(
    account: Account, move: Callable[..., object], outcome: type
) -> None:
    values = {"account_id": account.pk, "amount_micros": account.balance_micros, "actor": "a", "reason": "r"}
    with transaction.atomic():
        movements.hold(account_id=account.pk, quote_micros=QUOTE)
        moved = start_elsewhere(partial(move, **values))
        assert not moved.done()
    assert type(moved.exception() or moved.result()) is outcome
    assert list(audit.audit()) == []


def test_one_name_opened_at_once_by_many_is_one_account() -> None:
    outcomes = race([lambda: ledger.open_account(name="twin", opening_micros=100, actor="test")] * 8)
    assert outcomes.count(ledger.NameTaken) == 7
    assert Account.objects.count() == LedgerEntry.objects.count() == 1


def test_top_ups_at_once_all_count(account: Account) -> None:
    race([lambda: ledger.top_up(account_id=account.pk, amount_micros=100, actor="a", reason="r")] * 32)
    account.refresh_from_db()
    assert (account.balance_micros, account.entry_count) == (10_003_200, 33)
    assert list(audit.audit()) == []
