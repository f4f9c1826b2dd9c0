"""PostgreSQL itself refuses what must never be, whatever the code above it does."""

from importlib import import_module
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from billing import holds
from billing.models import Account, LedgerEntry
from tests import movements

pytestmark = pytest.mark.django_db
APPEND_ONLY = import_module("billing.migrations.0002_ledger_append_only")


def run(statement: str, *values: Any) -> None:
    """Execute a statement as written, with deferred checks at once, and leave the test's transaction usable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement, values)


def refused(constraint: str, statement: str, *values: Any) -> None:
    with pytest.raises(IntegrityError, match=f'"{constraint}"'):
        run(statement, *values)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("reserved_micros = -100", "account_reserved_within_balance"),
        ("balance_micros = -100", "account_reserved_within_balance"),
        ("reserved_micros = balance_micros + 100", "account_reserved_within_balance"),
        ("balance_micros = balance_micros + 1", "account_multiples_of_100_micros"),
        ("reserved_micros = 150", "account_multiples_of_100_micros"),
        ("spent_micros = 150", "account_multiples_of_100_micros"),
        ("spent_micros = -100", "account_totals_not_negative"),
        ("settlement_count = -1", "account_totals_not_negative"),
        ("entry_count = -1", "account_totals_not_negative"),
        ("status = 'closed'", "account_status"),
        ("name = ''", "account_name"),
        ("name = '42'", "account_name"),
    ],
)
def test_an_account_that_cannot_be_is_refused(account: Account, change: str, constraint: str) -> None:
    refused(constraint, f"UPDATE billing_account SET {change} WHERE id = %s", account.pk)  # noqa: S608


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("quote_micros = 0", "reservation_quote"),
        ("quote_micros = -100", "reservation_quote"),
        ("quote_micros = 26750", "reservation_quote"),
        ("resolution = 'lost', resolved_at = now()", "reservation_resolution"),
        ("resolution = 'released'", "reservation_resolution"),
        ("resolved_at = now()", "reservation_resolution"),
        ("resolution = 'settled', resolved_at = now()", "reservation_settled_within_quote"),
        (
            "resolution = 'settled', resolved_at = now(), settled_micros = 0",
            "reservation_settled_within_quote",
        ),
        (
            "resolution = 'settled', resolved_at = now(), settled_micros = 26800",
            "reservation_settled_within_quote",
        ),
        (
            "resolution = 'settled', resolved_at = now(), settled_micros = 150",
            "reservation_settled_within_quote",
        ),
        (
            "resolution = 'released', resolved_at = now(), settled_micros = 100",
            "reservation_settled_within_quote",
        ),
        ("settled_micros = 100", "reservation_settled_within_quote"),
    ],
)
def test_a_reservation_that_cannot_be_is_refused(account: Account, change: str, constraint: str) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    refused(constraint, f"UPDATE billing_reservation SET {change} WHERE id = %s", reservation.reservation_id)  # noqa: S608


ENTRY = {
    "account_id": None,
    "sequence": 9,
    "kind": "credit",
    "amount_micros": 100,
    "balance_after_micros": 100,
    "reserved_after_micros": 0,
    "reservation_id": None,
    "actor": "a",
    "reason": "r",
}


def refused_entry(constraint: str, **changes: Any) -> None:
    row = {**ENTRY, **changes}
    marks = ", ".join(["%s"] * len(row))
    refused(constraint, f"INSERT INTO billing_ledgerentry ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"sequence": 1}, "entry_sequence"),
        ({"sequence": 0}, "entry_amounts"),
        ({"amount_micros": 0}, "entry_amounts"),
        ({"amount_micros": -100}, "entry_amounts"),
        ({"amount_micros": 150}, "entry_amounts"),
        ({"balance_after_micros": -100}, "entry_amounts"),
        ({"balance_after_micros": 150}, "entry_amounts"),
        ({"reserved_after_micros": 200}, "entry_amounts"),
        ({"kind": "gift"}, "entry_kind"),
        ({"kind": "hold"}, "entry_kind"),
        ({"kind": "settle"}, "entry_kind"),
        ({"kind": "release"}, "entry_kind"),
        ({"actor": " "}, "entry_actor_and_reason"),
        ({"kind": "refund", "reason": ""}, "entry_actor_and_reason"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(
    account: Account, changes: dict[str, object], constraint: str
) -> None:
    refused_entry(constraint, account_id=account.pk, **changes)


@pytest.mark.parametrize("kind", ["credit", "refund"])
def test_money_from_outside_has_no_reservation(account: Account, kind: str) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    refused_entry("entry_kind", account_id=account.pk, kind=kind, reservation_id=reservation.reservation_id)


def test_a_second_hold_entry_of_a_reservation_is_refused(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    refused_entry(
        "entry_one_hold_a_reservation",
        account_id=account.pk,
        kind="hold",
        reservation_id=reservation.reservation_id,
    )


@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_second_resolving_entry_of_a_reservation_is_refused(account: Account, second: str) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    holds.release(reservation_id=reservation.reservation_id)
    refused_entry(
        "entry_one_resolution_a_reservation",
        account_id=account.pk,
        kind=second,
        reservation_id=reservation.reservation_id,
    )


def test_what_the_ledger_points_to_cannot_be_deleted(account: Account) -> None:
    reservation = movements.hold(account_id=account.pk, quote_micros=26_700)
    with pytest.raises(IntegrityError, match="foreign key"):
        run("DELETE FROM billing_account WHERE id = %s", account.pk)
    with pytest.raises(IntegrityError, match="foreign key"):
        run("DELETE FROM billing_reservation WHERE id = %s", reservation.reservation_id)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET amount_micros = amount_micros + 100",
        "UPDATE billing_ledgerentry SET reason = 'other' WHERE false",
        "DELETE FROM billing_ledgerentry",
        "SET LOCAL session_replication_role = replica; DELETE FROM billing_ledgerentry",
    ],
)
def test_an_entry_is_never_changed_or_deleted(account: Account, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"):
        run(statement)
    assert LedgerEntry.objects.get().amount_micros == 10_000_000


def test_every_trigger_of_the_ledger_holds_whatever_role_the_session_plays() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname, tgenabled FROM pg_trigger"
            " WHERE tgrelid = 'billing_ledgerentry'::regclass AND NOT tgisinternal"
        )
        assert dict(cursor.fetchall()) == {"billing_ledger_unchanged": "A", "billing_ledger_untruncated": "A"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["zekron", "testing", "my_test_db"])
def test_the_ledger_is_never_truncated_outside_a_test_database(name: str) -> None:
    # The trigger of the migration, on a table of the same name, in a database that is not called test_….
    parameters = {**connection.get_connection_params(), "cursor_factory": None}
    parameters.pop("context", None)
    parameters.pop("prepare_threshold", None)
    name = f"{name}_{uuid4().hex[:12]}"
    with psycopg.connect(**parameters, autocommit=True) as outside:
        outside.execute(f'CREATE DATABASE "{name}"')
        try:
            with psycopg.connect(**{**parameters, "dbname": name}, autocommit=True) as inside:
                inside.execute("CREATE TABLE billing_ledgerentry (id int)")
                inside.execute("INSERT INTO billing_ledgerentry VALUES (1)")
                inside.execute(APPEND_ONLY.REFUSE)
                for role in ("origin", "replica"):
                    inside.execute(f"SET session_replication_role = {role}")
                    with pytest.raises(psycopg.errors.RestrictViolation, match="TRUNCATE is refused"):
                        inside.execute("TRUNCATE billing_ledgerentry CASCADE")
                assert inside.execute("SELECT count(*) FROM billing_ledgerentry").fetchone() == (1,)
                inside.execute(APPEND_ONLY.ALLOW)
                inside.execute("TRUNCATE billing_ledgerentry")
        finally:
            outside.execute(f'DROP DATABASE "{name}"')
