"""The refund of a generation: a credit of its cost, once, whoever asks how often."""

import pytest

from billing import ledger
from billing.audit import audit
from billing.models import Account, LedgerEntry
from tests import factories
from tests.factories import QUOTE_MICROS
from workers.audit import rows
from workers.lifecycle import generation_refund
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


def refund(generation: Generation, *, reason: str = "six fingers") -> LedgerEntry:
    return generation_refund.refund(generation_id=generation.pk, actor="ada", reason=reason)


def test_the_cost_is_credited_and_everything_else_stays() -> None:
    made = factories.generation_in(Status.COMPLETED, factories.account())
    assert generation_refund.find(generation_id=made.pk) is None
    entry = refund(made)
    account = Account.objects.get()
    assert (account.balance_micros, account.spent_micros) == (10_000_000, QUOTE_MICROS)
    assert (entry.kind, entry.amount_micros, entry.actor) == ("credit", QUOTE_MICROS, "ada")
    assert entry.reason == f"refund of generation {made.pk}: six fingers"
    assert generation_refund.find(generation_id=made.pk) == entry
    assert Generation.objects.get().status == Status.COMPLETED
    assert [*audit(), *rows.find_disagreements()] == []


def test_a_second_refund_of_the_same_generation_is_refused_and_another_one_is_not() -> None:
    owner = factories.account()
    first, second = (factories.generation_in(Status.COMPLETED, owner) for _ in range(2))
    refund(first)
    with pytest.raises(ledger.MovedBefore, match="No money was moved this time"):
        refund(first, reason="another reason")
    refund(second)
    assert LedgerEntry.objects.filter(actor="ada").count() == 2


def test_of_many_refunds_at_once_one_succeeds() -> None:
    made = factories.generation_in(Status.COMPLETED, factories.account())

    def attempt(_index: int) -> bool:
        try:
            refund(made)
        except ledger.MovedBefore:
            return False
        return True

    assert sum(factories.at_once(8, attempt)) == 1
    assert Account.objects.get().balance_micros == 10_000_000


@pytest.mark.parametrize("status", [status for status in Status if status != Status.COMPLETED])
def test_a_generation_that_was_not_charged_is_not_refunded(status: Status) -> None:
    free = factories.generation_in(status, factories.account())
    with pytest.raises(
        generation_refund.NothingToRefund, match=f"^Generation {free.pk} is {status} and was not"
    ):
        refund(free)
    assert not LedgerEntry.objects.filter(actor="ada").exists()


def test_a_refund_needs_a_reason() -> None:
    made = factories.generation_in(Status.COMPLETED, factories.account())
    with pytest.raises(ValueError, match="reason must not be blank"):
        refund(made, reason=" ")
    assert generation_refund.find(generation_id=made.pk) is None
