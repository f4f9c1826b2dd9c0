"""The audit finds each kind of tampering, and each guard of the database that is gone."""

import re

import pytest
from django.db import connection

from billing import audit, holds
from billing.models import Account, LedgerEntry, Reservation
from tests import movements
from tests.billing.tampering import tamper

TAMPERED = {
    "a balance": (
        "UPDATE billing_account SET balance_micros = balance_micros + 100",
        "account …: balance 9973400 + spent 26700 is not credits 10000000",
    ),
    "a balance that is not the last entry's": (
        "UPDATE billing_account SET balance_micros = balance_micros + 100",
        "account …: balance 9973400 and reserved 26700 are not the last entry's 9973300 and 26700 micros",
    ),
    "what was spent": (
        "UPDATE billing_account SET spent_micros = spent_micros + 100",
        "account …: spent 26800 is not the settlements' sum 26700 micros",
    ),
    "balance and spent, moved": (
        "UPDATE billing_account SET balance_micros = balance_micros + 100, spent_micros = spent_micros - 100",
        "account …: spent 26600 is not the settlements' sum",
    ),
    "what is reserved": (
        "UPDATE billing_account SET reserved_micros = 0",
        "account …: reserved 0 is not the open holds' sum 26700",
    ),
    "the count of settlements": (
        "UPDATE billing_account SET settlement_count = 9",
        "account …: counts 9 settlements and has 1",
    ),
    "the count of holds": (
        "UPDATE billing_account SET hold_count = 9",
        "account …: counts 9 holds, 1 of them open, and has 3 and 1",
    ),
    "the count of open holds": (
        "UPDATE billing_account SET open_hold_count = 0",
        "account …: counts 3 holds, 0 of them open, and has 3 and 1",
    ),
    "the count of open asynchronous holds": (
        "UPDATE billing_account SET open_async_count = 1",
        "account …: counts 1 open asynchronous holds and has 0",
    ),
    "the count of entries": (
        "UPDATE billing_account SET entry_count = 99",
        "account …: counts 99 entries and has 6",
    ),
    "an amount": ("UPDATE billing_ledgerentry SET amount_micros = 5000000 WHERE kind = 'credit'", "due is"),
    "a balance after": (
        "UPDATE billing_ledgerentry SET balance_after_micros = balance_after_micros + 100 WHERE sequence = 2",
        "stores balance",
    ),
    "what is reserved after": (
        "UPDATE billing_ledgerentry SET reserved_after_micros = reserved_after_micros + 100 WHERE sequence = 2",
        "stores reserved",
    ),
    "a kind": (
        "UPDATE billing_ledgerentry SET kind = 'release' WHERE kind = 'settle'",
        "0 settle entries of 0 micros",
    ),
    "a deleted entry": ("DELETE FROM billing_ledgerentry WHERE sequence = 3", "comes right after entry 2"),
    "the deleted last entry": (
        "DELETE FROM billing_ledgerentry WHERE sequence = (SELECT max(sequence) FROM billing_ledgerentry)",
        "counts",
    ),
    "all entries deleted": ("DELETE FROM billing_ledgerentry", "counts 6 entries and has 0"),
    "a gap": ("UPDATE billing_ledgerentry SET sequence = 77 WHERE sequence = 6", "entry 77"),
    "a reopened reservation": (
        "UPDATE billing_reservation SET resolution = '', settled_micros = NULL, resolved_at = NULL"
        " WHERE resolution = 'settled'",
        "says 0 micros are settled",
    ),
    "a released reservation reopened": (
        "UPDATE billing_reservation SET resolution = '', resolved_at = NULL WHERE resolution = 'released'",
        "release entries",
    ),
    "a cost": (
        "UPDATE billing_reservation SET settled_micros = 100 WHERE resolution = 'settled'",
        "settle entries",
    ),
    "a quote": ("UPDATE billing_reservation SET quote_micros = 90000 WHERE resolution = ''", "hold entries"),
    "a hold without entry": (
        "INSERT INTO billing_reservation (account_id, quote_micros, resolution)"
        " SELECT id, 100, '' FROM billing_account",
        "0 hold entries",
    ),
    "an entry moved to another account": (
        "INSERT INTO billing_account (name, status, balance_micros, reserved_micros, spent_micros, settlement_count,"
        " entry_count) VALUES ('thief', 'active', 0, 0, 0, 0, 0);"
        "UPDATE billing_ledgerentry SET account_id = (SELECT id FROM billing_account WHERE name = 'thief')"
        " WHERE kind = 'settle'",
        "of another account",
    ),
    "a deleted account, to which a reservation points": (
        "DELETE FROM billing_account",
        "reservation … points to account … does not exist",
    ),
    "a deleted account, to which an entry points": (
        "DELETE FROM billing_account",
        "entry id … points to account … does not exist",
    ),
    "a deleted reservation": (
        "DELETE FROM billing_reservation WHERE resolution = ''",
        "entry id … points to reservation … does not exist",
    ),
    "the credits of an account that is gone": (
        "DELETE FROM billing_account",
        "in total: balance 0 + spent 0 is not credits 10000000 - refunds 0 micros",
    ),
    "the spending of an account that is gone": (
        "DELETE FROM billing_account",
        "in total: spent 0 is not the settlements' sum 26700 micros",
    ),
    "the settlements of an account that is gone": (
        "DELETE FROM billing_account",
        "in total: 0 settlements are counted and there are 1",
    ),
    "the hold of an account that is gone": (
        "DELETE FROM billing_account",
        "in total: reserved 0 is not the open holds' sum 26700 micros",
    ),
}


@pytest.fixture
def history(account: Account) -> Account:
    """Six entries: a credit, three holds, of which one is settled, one released and one open."""
    settled, released, _ = [movements.hold(account_id=account.pk, quote_micros=26_700) for _ in range(3)]
    movements.settle(reservation_id=settled.reservation_id, cost_micros=26_700)
    holds.release(reservation_id=released.reservation_id)
    assert LedgerEntry.objects.count() == 6
    return account


@pytest.mark.django_db
@pytest.mark.parametrize("what", TAMPERED)
def test_the_audit_finds_tampering_with(history: Account, what: str) -> None:
    statements, said = TAMPERED[what]
    assert list(audit.audit()) == []
    tamper(statements)
    problems = list(audit.audit())
    # What stands for an id is any text.
    wanted = re.compile(".*".join(re.escape(part) for part in said.split("…")))
    assert any(wanted.search(problem) for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "constraint", "change", "said"),
    [
        ("billing_account", "account_reserved_within_balance", "reserved_micros = 99999900", "not within 0"),
        ("billing_account", "account_multiples_of_100_micros", "spent_micros = 1", "four decimal places"),
        ("billing_ledgerentry", "entry_amounts", "amount_micros = 150", "no positive multiple"),
        ("billing_ledgerentry", "entry_kind", "reservation_id = NULL", "has reservation none"),
        (
            "billing_reservation",
            "reservation_settled_within_quote",
            "settled_micros = 90000",
            "is settled at 90000",
        ),
    ],
)
def test_the_audit_finds_what_a_dropped_constraint_let_in(
    history: Account, table: str, constraint: str, change: str, said: str
) -> None:
    tamper(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}; UPDATE {table} SET {change}")  # noqa: S608
    assert any(said in problem for problem in audit.audit())


CONSTRAINTS = [
    (model._meta.db_table, constraint.name)
    for model in (Account, Reservation, LedgerEntry)
    for constraint in model._meta.constraints
]


@pytest.mark.django_db
@pytest.mark.parametrize(("table", "name"), CONSTRAINTS)
def test_the_audit_finds_a_missing_constraint(table: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        # Where it holds for some rows only, it is an index.
        cursor.execute(f"DROP INDEX IF EXISTS {name}")
    assert list(audit.audit()) == [f"the constraint {name} of {table} is missing or not valid"]


@pytest.mark.django_db
def test_the_audit_finds_a_constraint_that_old_rows_need_not_meet() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_account DROP CONSTRAINT account_reserved_within_balance")
        cursor.execute(
            "ALTER TABLE billing_account ADD CONSTRAINT account_reserved_within_balance"
            " CHECK (reserved_micros BETWEEN 0 AND balance_micros) NOT VALID"
        )
    assert list(audit.audit()) == [
        "the constraint account_reserved_within_balance of billing_account is missing or not valid"
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("weakened", ["DISABLE", "ENABLE", "ENABLE REPLICA"])
@pytest.mark.parametrize("trigger", ["billing_ledger_unchanged", "billing_ledger_untruncated"])
def test_the_audit_finds_a_trigger_that_does_not_always_hold(trigger: str, weakened: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE billing_ledgerentry {weakened} TRIGGER {trigger}")
    assert list(audit.audit()) == [f"the ledger's trigger {trigger} is missing or disabled"]


@pytest.mark.django_db
def test_problems_name_the_account_and_the_entry(history: Account) -> None:
    tamper(
        "UPDATE billing_ledgerentry SET balance_after_micros = balance_after_micros + 100 WHERE sequence = 2"
    )
    entry = LedgerEntry.objects.get(sequence=2)
    assert next(audit.audit()) == (
        f"account {history.pk}: entry 2 (id {entry.pk}, hold) stores balance 10000100, due is 10000000 micros"
    )
