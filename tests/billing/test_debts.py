"""Debts: what a reversed payment could not take, and how the next credits pay it."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from billing import accounts, audit, ledger
from billing.debt_models import DebtEntry
from billing.models import Account, LedgerEntry
from tests import movements

pytestmark = pytest.mark.django_db


def reverse(account: Account, dollars: int) -> None:
    ledger.reverse(
        account_id=account.pk,
        amount_micros=dollars * 10**6,
        actor="bank",
        reason="dispute",
        request_id=uuid4(),
    )


def top_up(account: Account, dollars: int) -> LedgerEntry:
    return ledger.top_up(account_id=account.pk, amount_micros=dollars * 10**6, actor="a", reason="r")


def figures(account: Account) -> tuple[int, int, int]:
    """Return the balance, the reserved amount and the debt, in dollars."""
    account.refresh_from_db()
    return tuple(  # type: ignore[return-value] # of three fields
        micros // 10**6 for micros in (account.balance_micros, account.reserved_micros, account.debt_micros)
    )


def discrepancies() -> list[str]:
    """Return what the audit says, except that no order by card explains these reversals."""
    return [line for line in audit.audit() if "belongs to no top-up" not in line]


def test_a_reversal_takes_what_is_available_and_raises_a_debt_for_the_rest(account: Account) -> None:
    movements.hold(account_id=account.pk, quote_micros=3_000_000)
    reverse(account, 25)
    assert figures(account) == (3, 3, 18)
    assert LedgerEntry.objects.get(kind="refund").amount_micros == 7_000_000
    raised = DebtEntry.objects.get()
    assert (raised.kind, raised.amount_micros, raised.debt_after_micros) == ("raised", 18_000_000, 18_000_000)
    assert discrepancies() == []


def test_a_reversal_of_what_is_there_raises_no_debt(account: Account) -> None:
    reverse(account, 10)
    assert figures(account) == (0, 0, 0)
    assert not DebtEntry.objects.exists()


def test_an_account_without_money_owes_all_of_it_and_has_no_entry_of_nothing(account: Account) -> None:
    reverse(account, 10)
    reverse(account, 5)
    assert figures(account) == (0, 0, 5)
    assert LedgerEntry.objects.filter(kind="refund").count() == 1


def test_a_credit_pays_the_debt_first_and_the_ledger_shows_both(account: Account) -> None:
    movements.hold(account_id=account.pk, quote_micros=10_000_000)
    reverse(account, 15)
    entry = top_up(account, 10)
    assert (entry.kind, entry.amount_micros, entry.account.balance_micros) == (
        "credit",
        10_000_000,
        10_000_000,
    )
    assert figures(account) == (10, 10, 5)
    payment = LedgerEntry.objects.get(sequence=entry.sequence + 1)
    assert (payment.kind, payment.amount_micros, payment.actor) == ("refund", 10_000_000, ledger.DEBT_ACTOR)
    assert payment.reason == f"paid with entry {entry.sequence}"
    paid = DebtEntry.objects.get(kind="paid")
    assert (paid.ledger_entry, paid.debt_after_micros) == (payment, 5_000_000)
    top_up(account, 10)
    assert figures(account) == (15, 10, 0)
    top_up(account, 1)
    assert figures(account) == (16, 10, 0)
    assert DebtEntry.objects.count() == 3
    assert discrepancies() == []


def test_a_suspended_account_pays_its_debt_too(account: Account) -> None:
    reverse(account, 15)
    accounts.suspend(account_id=account.pk)
    top_up(account, 5)
    assert figures(account) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [("debt_micros = -100", "account_debt"), ("debt_micros = 150", "account_debt")],
)
def test_the_database_refuses_a_debt_that_cannot_be(account: Account, change: str, constraint: str) -> None:
    refused(constraint, f"UPDATE billing_account SET {change}")  # noqa: S608


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("'raised', 0, 0, gen_random_uuid(), NULL", "debt_amounts"),
        ("'raised', 150, 150, gen_random_uuid(), NULL", "debt_amounts"),
        ("'raised', 100, -100, gen_random_uuid(), NULL", "debt_amounts"),
        ("'raised', 100, 100, NULL, NULL", "debt_kind"),
        ("'paid', 100, 100, NULL, NULL", "debt_kind"),
        ("'gift', 100, 100, gen_random_uuid(), NULL", "debt_kind"),
    ],
)
def test_the_database_refuses_a_debt_entry_that_cannot_be(
    account: Account, values: str, constraint: str
) -> None:
    columns = "account_id, reason, kind, amount_micros, debt_after_micros, request_id, ledger_entry_id"
    row = f"{account.pk}, 'r', {values}"
    refused(constraint, f"INSERT INTO billing_debtentry ({columns}) VALUES ({row})")  # noqa: S608


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_debtentry SET reason = 'x'", "DELETE FROM billing_debtentry"]
)
def test_a_debt_entry_is_never_changed_or_deleted(account: Account, statement: str) -> None:
    reverse(account, 15)
    for role in ("origin", "replica"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL session_replication_role = {role}")
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                cursor.execute(statement)
            cursor.execute("SET LOCAL session_replication_role = origin")


def test_the_audit_finds_a_trigger_of_debts_that_is_disabled() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_debtentry DISABLE TRIGGER billing_debts_unchanged")
    assert list(audit.audit()) == ["the ledger's trigger billing_debts_unchanged is missing or disabled"]


def refused(constraint: str, statement: str, *values: Any) -> None:
    with (
        pytest.raises(IntegrityError, match=f'"{constraint}"'),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, values)
