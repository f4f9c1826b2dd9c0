"""The audit is silent about what the ledger did, whatever it did."""

import pytest
from django.db import transaction
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

from billing import accounts, audit, holds, ledger
from billing.models import Account, Reservation
from tests import movements

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
            with pytest.raises(holds.AccountSuspended):
                movements.hold(account_id=account.pk, quote_micros=quote)
        elif account.available_micros < quote:
            with pytest.raises(ledger.InsufficientBalance):
                movements.hold(account_id=account.pk, quote_micros=quote)
        else:
            self.open.append(movements.hold(account_id=account.pk, quote_micros=quote).reservation_id)

    @precondition(lambda self: self.open)
    @rule(pick=picks, share=st.floats(0, 1))
    def settle(self, pick: int, share: float) -> None:
        reservation = Reservation.objects.get(pk=self.open.pop(pick % len(self.open)))
        movements.settle(
            reservation_id=reservation.pk,
            cost_micros=max(1, int(reservation.quote_micros * share) // 100) * 100,
        )
        self.ended.append(reservation.pk)

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self.ended.append(self.open.pop(pick % len(self.open)))
        holds.release(reservation_id=self.ended[-1])

    @precondition(lambda self: self.ended)
    @rule(pick=picks, settle=st.booleans())
    def resolve_again(self, pick: int, settle: bool) -> None:
        pk = self.ended[pick % len(self.ended)]
        with pytest.raises(holds.AlreadyResolved):
            movements.settle(reservation_id=pk, cost_micros=100) if settle else holds.release(
                reservation_id=pk
            )

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


@pytest.mark.slow
@pytest.mark.django_db
def test_everything_adds_up_after_any_life() -> None:
    run_state_machine_as_test(
        Lives, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )


@pytest.mark.django_db(transaction=True)
def test_the_audit_reads_outside_a_transaction_too(account: Account) -> None:
    assert list(audit.audit()) == []
