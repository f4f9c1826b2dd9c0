"""Money moves only as the ledger says: what each movement does to an account, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from billing import accounts, holds, ledger
from billing.models import Account, LedgerEntry, Reservation
from tests import movements

pytestmark = pytest.mark.django_db


def figures(account: Account) -> tuple[int, int, int, int, int]:
    account.refresh_from_db()
    return (
        account.balance_micros,
        account.reserved_micros,
        account.spent_micros,
        account.settlement_count,
        account.entry_count,
    )


def test_the_opening_balance_is_an_entry(account: Account) -> None:
    entry = LedgerEntry.objects.get()
    assert figures(account) == (10_000_000, 0, 0, 0, 1)
    assert (entry.kind, entry.sequence, entry.amount_micros, entry.reason) == (
        "credit",
        1,
        10_000_000,
        "opening balance",
    )
    assert (entry.balance_after_micros, entry.reserved_after_micros, entry.actor) == (10_000_000, 0, "test")


def test_an_account_opened_with_nothing_has_no_entry() -> None:
    account = ledger.open_account(name="poor", opening_micros=0, actor="test")
    assert figures(account) == (0, 0, 0, 0, 0)
    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "42", "4 2", "x" * 101])
def test_a_name_that_is_blank_a_number_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ledger.open_account(name=name, opening_micros=0, actor="test")


def test_a_name_is_given_once(account: Account) -> None:
    with pytest.raises(ledger.NameTaken, match="demo"):
        ledger.open_account(name=" demo ", opening_micros=0, actor="test")
    assert figures(account)[0] == 10_000_000


def test_a_hold_reserves_the_quote(account: Account) -> None:
    held = movements.hold(account_id=account.pk, quote_micros=26_700)
    reservation = Reservation.objects.get(pk=held.reservation_id)
    entry = LedgerEntry.objects.get(kind="hold")
    assert figures(account) == (10_000_000, 26_700, 0, 0, 2)
    assert (entry.reservation, entry.amount_micros, entry.sequence) == (reservation, 26_700, 2)
    assert (entry.balance_after_micros, entry.reserved_after_micros) == (10_000_000, 26_700)
    assert (reservation.resolution, reservation.settled_micros, reservation.quote_micros) == (
        "",
        None,
        26_700,
    )
    assert reservation.created_at is not None


def test_settling_charges_the_cost_and_frees_the_rest(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    movements.settle(reservation_id=reservation.reservation_id, cost_micros=25_000)
    resolved = Reservation.objects.get(pk=reservation.reservation_id)
    entry = LedgerEntry.objects.get(kind="settle")
    assert figures(account) == (9_975_000, 0, 25_000, 1, 3)
    assert (entry.amount_micros, entry.balance_after_micros, entry.reserved_after_micros) == (
        25_000,
        9_975_000,
        0,
    )
    assert (resolved.resolution, resolved.settled_micros) == ("settled", 25_000)
    assert resolved.resolved_at is not None


def test_a_release_charges_nothing(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    holds.release(reservation_id=reservation.reservation_id)
    resolved = Reservation.objects.get(pk=reservation.reservation_id)
    assert figures(account) == (10_000_000, 0, 0, 0, 3)
    assert LedgerEntry.objects.get(kind="release").amount_micros == 26_700
    assert (resolved.resolution, resolved.settled_micros) == ("released", None)


def test_holds_are_numbered_and_those_that_are_open_are_counted_and_limited(account: Account) -> None:
    first, second = (movements.hold(account_id=account.pk, quote_micros=100, open_limit=2) for _ in "ab")
    assert (first.number, first.open_count, second.number, second.open_count) == (1, 1, 2, 2)
    with pytest.raises(holds.TooManyHolds):
        movements.hold(account_id=account.pk, quote_micros=100, open_limit=2)
    holds.release(reservation_id=first.reservation_id)
    third = movements.hold(account_id=account.pk, quote_micros=100, open_limit=2)
    assert (third.number, third.open_count) == (3, 2)
    movements.settle(reservation_id=second.reservation_id, cost_micros=100)
    account.refresh_from_db()
    assert (account.hold_count, account.open_hold_count) == (3, 1)


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_second_resolution_is_refused(account: Account, first: str, second: str) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    resolve = {
        "settle": lambda: movements.settle(reservation_id=reservation.reservation_id, cost_micros=26_700),
        "release": lambda: holds.release(reservation_id=reservation.reservation_id),
    }
    resolve[first]()
    before = figures(account)
    with pytest.raises(holds.AlreadyResolved):
        resolve[second]()
    assert figures(account) == before


def test_a_cost_over_the_quote_is_refused(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    with pytest.raises(ValueError, match="over the quote"):
        movements.settle(reservation_id=reservation.reservation_id, cost_micros=26_800)
    assert figures(account) == (10_000_000, 26_700, 0, 0, 2)


def test_a_hold_over_what_is_available_is_refused(account: Account) -> None:
    movements.hold(account_id=account.pk, quote_micros=9_999_000)
    with pytest.raises(ledger.InsufficientBalance):
        movements.hold(account_id=account.pk, quote_micros=1_100)
    movements.hold(account_id=account.pk, quote_micros=1_000)
    assert figures(account)[:2] == (10_000_000, 10_000_000)


def test_a_suspended_account_holds_nothing_but_settles_what_was_accepted(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    accounts.suspend(account_id=account.pk)
    with pytest.raises(holds.AccountSuspended):
        movements.hold(account_id=account.pk, quote_micros=26_700)
    movements.settle(reservation_id=reservation.reservation_id, cost_micros=26_700)
    assert figures(account) == (9_973_300, 0, 26_700, 1, 3)


@pytest.mark.parametrize("amount_micros", [0, -100, 26_750, 1, 10**15 + 100])
def test_an_amount_that_is_no_positive_multiple_of_100_micros_is_refused(
    account: Account, amount_micros: int
) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    moves: tuple[Callable[[], object], ...] = (
        lambda: movements.hold(account_id=account.pk, quote_micros=amount_micros),
        lambda: movements.settle(reservation_id=reservation.reservation_id, cost_micros=amount_micros),
        lambda: ledger.top_up(account_id=account.pk, amount_micros=amount_micros, actor="a", reason="r"),
        lambda: ledger.refund(account_id=account.pk, amount_micros=amount_micros, actor="a", reason="r"),
    )
    for move in moves:
        with pytest.raises(ValueError, match="multiple of 100"):
            move()
    assert figures(account)[4] == 2


def test_top_up_and_refund_say_who_and_why(account: Account) -> None:
    credit = ledger.top_up(
        account_id=account.pk, amount_micros=5_000_000, actor=" ada ", reason=" invoice 7 "
    )
    refund = ledger.refund(account_id=account.pk, amount_micros=1_000_000, actor="ada", reason="closed")
    assert (credit.kind, credit.actor, credit.reason, credit.balance_after_micros) == (
        "credit",
        "ada",
        "invoice 7",
        15_000_000,
    )
    assert (refund.kind, refund.amount_micros, refund.balance_after_micros) == (
        "refund",
        1_000_000,
        14_000_000,
    )
    assert figures(account) == (14_000_000, 0, 0, 0, 3)


@pytest.mark.parametrize("move", [ledger.top_up, ledger.refund])
@pytest.mark.parametrize(("actor", "reason"), [("", "why"), (" ", "why"), ("who", ""), ("who", " \n")])
def test_money_moved_without_saying_who_and_why_is_refused(
    account: Account, move: Any, actor: str, reason: str
) -> None:
    with pytest.raises(ValueError, match="blank"):
        move(account_id=account.pk, amount_micros=100, actor=actor, reason=reason)
    assert figures(account) == (10_000_000, 0, 0, 0, 1)


def test_a_refund_never_takes_what_is_reserved(account: Account) -> None:
    movements.hold(account_id=account.pk, quote_micros=26_700)
    with pytest.raises(ledger.InsufficientBalance):
        ledger.refund(account_id=account.pk, amount_micros=9_973_400, actor="a", reason="r")
    ledger.refund(account_id=account.pk, amount_micros=9_973_300, actor="a", reason="r")
    assert figures(account)[:2] == (26_700, 26_700)


def test_what_does_not_exist_is_said_so() -> None:
    with pytest.raises(Account.DoesNotExist):
        movements.hold(account_id=404, quote_micros=100)
    with pytest.raises(Reservation.DoesNotExist):
        holds.release(reservation_id=404)


@pytest.mark.django_db(transaction=True)
def test_a_release_is_refused_outside_a_transaction(account: Account) -> None:
    assert not connection.in_atomic_block
    with transaction.atomic():
        reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    with pytest.raises(transaction.TransactionManagementError):
        holds.release(reservation_id=reservation.reservation_id)
    assert figures(account) == (10_000_000, 26_700, 0, 0, 2)


@pytest.mark.django_db(transaction=True)
def test_what_a_rolled_back_transaction_held_is_free_again(account: Account) -> None:
    with transaction.atomic():
        movements.hold(account_id=account.pk, quote_micros=26_700)
        transaction.set_rollback(True)
    assert figures(account) == (10_000_000, 0, 0, 0, 1)
    assert not Reservation.objects.exists()
