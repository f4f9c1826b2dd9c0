"""The audit is silent about what the ledger did, whatever it did, and finds each kind of tampering."""

import pytest
from django.db import connection, transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import accounts, audit, ledger
from billing.models import Account, LedgerEntry, Reservation

amounts = st.integers(1, 300).map(lambda steps: steps * 100)
picks = st.integers(0, 10**6)


class Lives(RuleBasedStateMachine):
    """Accounts that live through everything that can happen to them, in any order; rolled back at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(openings=st.lists(st.integers(0, 500).map(lambda steps: steps * 100), min_size=1, max_size=3))
    def open_accounts(self, openings: list[int]) -> None:
        self.open: list[int] = []
        self.ended: list[int] = []
        self.account_ids = [
            ledger.open_account(name=f"life {index}", opening_micros=opening, actor="test").pk
            for index, opening in enumerate(openings)
        ]

    def account(self, pick: int) -> Account:
        return Account.objects.get(pk=self.account_ids[pick % len(self.account_ids)])

    @rule(pick=picks, quote=amounts)
    def hold(self, pick: int, quote: int) -> None:
        account = self.account(pick)
        if account.status == "suspended":
            with pytest.raises(ledger.AccountSuspended):
                ledger.hold(account_id=account.pk, quote_micros=quote)
        elif account.available_micros < quote:
            with pytest.raises(ledger.InsufficientBalance):
                ledger.hold(account_id=account.pk, quote_micros=quote)
        else:
            self.open.append(ledger.hold(account_id=account.pk, quote_micros=quote).pk)

    @precondition(lambda self: self.open)
    @rule(pick=picks, share=st.floats(0, 1))
    def settle(self, pick: int, share: float) -> None:
        reservation = Reservation.objects.get(pk=self.open.pop(pick % len(self.open)))
        ledger.settle(
            reservation_id=reservation.pk,
            cost_micros=max(1, int(reservation.quote_micros * share) // 100) * 100,
        )
        self.ended.append(reservation.pk)

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self.ended.append(self.open.pop(pick % len(self.open)))
        ledger.release(reservation_id=self.ended[-1])

    @precondition(lambda self: self.ended)
    @rule(pick=picks, settle=st.booleans())
    def resolve_again(self, pick: int, settle: bool) -> None:
        pk = self.ended[pick % len(self.ended)]
        with pytest.raises(ledger.AlreadyResolved):
            ledger.settle(reservation_id=pk, cost_micros=100) if settle else ledger.release(reservation_id=pk)

    @rule(pick=picks, amount=amounts)
    def top_up(self, pick: int, amount: int) -> None:
        ledger.top_up(account_id=self.account(pick).pk, amount_micros=amount, actor="a", reason="r")

    @rule(pick=picks, amount=amounts)
    def refund(self, pick: int, amount: int) -> None:
        account = self.account(pick)
        if account.available_micros < amount:
            with pytest.raises(ledger.InsufficientBalance):
                ledger.refund(account_id=account.pk, amount_micros=amount, actor="a", reason="r")
        else:
            ledger.refund(account_id=account.pk, amount_micros=amount, actor="a", reason="r")

    @rule(pick=picks, suspended=st.booleans())
    def change_status(self, pick: int, suspended: bool) -> None:
        (accounts.suspend if suspended else accounts.reinstate)(account_id=self.account(pick).pk)

    @invariant()
    def everything_adds_up(self) -> None:
        assert list(audit.audit()) == []
        assert Reservation.objects.filter(resolution="").count() == len(self.open)


@pytest.mark.django_db
def test_everything_adds_up_after_any_life() -> None:
    run_state_machine_as_test(
        Lives, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )


TAMPERED = {
    "a balance": ("UPDATE billing_account SET balance_micros = balance_micros + 100", "balance"),
    "what was spent": ("UPDATE billing_account SET spent_micros = spent_micros + 100", "spent"),
    "balance and spent, moved": (
        "UPDATE billing_account SET balance_micros = balance_micros + 100, spent_micros = spent_micros - 100",
        "settlements' sum",
    ),
    "what is reserved": ("UPDATE billing_account SET reserved_micros = 0", "open holds"),
    "the count of settlements": ("UPDATE billing_account SET settlement_count = 9", "settlements"),
    "the count of entries": ("UPDATE billing_account SET entry_count = 99", "entries"),
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
    "a deleted account": ("DELETE FROM billing_account", "does not exist"),
    "a deleted reservation": ("DELETE FROM billing_reservation WHERE resolution = ''", "does not exist"),
}


def tamper(statements: str) -> None:
    """Does what only the database's superuser could: with triggers, foreign keys and checks out of the way."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statements)
        cursor.execute("SET LOCAL session_replication_role = origin")
        for trigger in ("billing_ledger_unchanged", "billing_ledger_untruncated"):
            cursor.execute(f"ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER {trigger}")


@pytest.fixture
def history(account: Account) -> Account:
    """Six entries: a credit, three holds, of which one is settled, one released and one open."""
    settled, released, _ = [ledger.hold(account_id=account.pk, quote_micros=26_700) for _ in range(3)]
    ledger.settle(reservation_id=settled.pk, cost_micros=26_700)
    ledger.release(reservation_id=released.pk)
    assert LedgerEntry.objects.count() == 6
    return account


@pytest.mark.django_db
@pytest.mark.parametrize("what", TAMPERED)
def test_the_audit_finds_tampering_with(history: Account, what: str) -> None:
    statements, said = TAMPERED[what]
    assert list(audit.audit()) == []
    tamper(statements)
    problems = list(audit.audit())
    assert any(said in problem for problem in problems), problems
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


@pytest.mark.django_db
@pytest.mark.parametrize("trigger", ["billing_ledger_unchanged", "billing_ledger_untruncated"])
def test_the_audit_finds_a_disabled_trigger(trigger: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE billing_ledgerentry DISABLE TRIGGER {trigger}")
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


@pytest.mark.django_db(transaction=True)
def test_the_audit_reads_outside_a_transaction_too(account: Account) -> None:
    assert list(audit.audit()) == []
