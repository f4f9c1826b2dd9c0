"""Refunds by card that staff ask for: the account pays first, and a refusal of Stripe gives it back."""

from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from billing import audit, card_refunds, card_top_ups, ledger, stripe_api, stripe_events
from billing.card_models import CardRefund, TopUpOrder
from billing.management.actor import actor_of
from billing.models import Account, LedgerEntry
from tests import movements
from tests.billing import stripe_stub
from tests.billing.stripe_stub import StripeStub

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(account: Account, stripe: StripeStub) -> TopUpOrder:
    """Return a paid order of 25 dollars."""
    made = card_top_ups.order(account_id=account.pk, amount_micros=25_000_000)
    apply(stripe_stub.paid(stripe, made))
    made.refresh_from_db()
    stripe.calls.clear()
    return made


def apply(content: bytes) -> None:
    event_type, body = stripe_api.read_event(content=content, signature=stripe_stub.signature(content))
    stripe_events.handle(event_type=event_type, body=body)


def refund(order: TopUpOrder, dollars: int) -> CardRefund:
    return card_refunds.refund(
        order_id=order.pk, amount_micros=dollars * 10**6, actor="ada", reason="asked for it"
    )


def balance(order: TopUpOrder) -> float:
    return Account.objects.get(pk=order.account_id).balance_micros / 10**6


def test_the_account_pays_and_then_the_card_is_refunded(paid: TopUpOrder, stripe: StripeStub) -> None:
    made = refund(paid, 10)
    [call] = stripe.calls
    assert (call.path, call.key) == ("/v1/refunds", str(made.pk))
    assert (call.form["payment_intent"], call.form["amount"]) == (stripe.payment_of(paid), "1000")
    entry = LedgerEntry.objects.get(request_id=made.pk)
    assert (entry.kind, entry.amount_micros, entry.actor, entry.reason) == (
        "refund",
        10_000_000,
        "ada",
        "asked for it",
    )
    assert (made.status, balance(paid)) == ("done", 25)
    # Stripe's own event of this refund takes nothing more.
    for _ in range(2):
        apply(stripe_stub.refunded(stripe, paid, 1000))
        assert balance(paid) == 25
        assert list(audit.audit()) == []


def test_refunds_of_staff_and_of_stripes_dashboard_add_up(paid: TopUpOrder, stripe: StripeStub) -> None:
    apply(stripe_stub.refunded(stripe, paid, 500))
    refund(paid, 3)
    assert balance(paid) == 27
    apply(stripe_stub.refunded(stripe, paid, 800))
    assert balance(paid) == 27
    apply(stripe_stub.refunded(stripe, paid, 1000))
    assert balance(paid) == 25
    assert list(audit.audit()) == []


def test_a_refund_that_stripe_refuses_is_given_back(paid: TopUpOrder, stripe: StripeStub) -> None:
    apply(stripe_stub.refunded(stripe, paid, 500))
    stripe.failure = 400
    with pytest.raises(stripe_api.StripeRefused):
        refund(paid, 10)
    assert CardRefund.objects.get().status == "refused"
    assert balance(paid) == 30
    assert [entry.kind for entry in LedgerEntry.objects.order_by("-sequence")[:2]] == ["credit", "refund"]
    assert list(audit.audit()) == []
    stripe.failure = None
    assert refund(paid, 20).status == "done"
    assert balance(paid) == 10


@pytest.mark.parametrize("failure", [0, 500, 401])
def test_a_refund_without_an_answer_stays_pending_and_is_sent_again(
    paid: TopUpOrder, stripe: StripeStub, failure: int
) -> None:
    stripe.failure = failure
    with pytest.raises(stripe_api.StripeUnavailable):
        refund(paid, 10)
    made = CardRefund.objects.get()
    assert (made.status, balance(paid)) == ("pending", 25)
    stripe.failure = None
    stripe.calls.clear()
    card_refunds.send_pending()
    assert not stripe.calls
    CardRefund.objects.update(created_at=Now() - timedelta(minutes=6))
    card_refunds.send_pending()
    [call] = stripe.calls
    assert call.key == str(made.pk)
    made.refresh_from_db()
    assert (made.status, balance(paid)) == ("done", 25)
    card_refunds.send_pending()
    assert len(stripe.calls) == 1
    assert list(audit.audit()) == []


def test_a_pending_refund_that_is_refused_later_is_given_back(paid: TopUpOrder, stripe: StripeStub) -> None:
    stripe.failure = 500
    with pytest.raises(stripe_api.StripeUnavailable):
        refund(paid, 10)
    CardRefund.objects.update(created_at=Now() - timedelta(minutes=6))
    stripe.failure = 400
    card_refunds.send_pending()
    assert (CardRefund.objects.get().status, balance(paid)) == ("refused", 35)
    assert list(audit.audit()) == []


def test_a_refund_that_stripe_may_have_forgotten_is_not_sent_again(
    paid: TopUpOrder, stripe: StripeStub
) -> None:
    stripe.failure = 500
    with pytest.raises(stripe_api.StripeUnavailable):
        refund(paid, 10)
    CardRefund.objects.update(created_at=Now() - timedelta(hours=24))
    stripe.failure = None
    stripe.calls.clear()
    card_refunds.send_pending()
    assert not stripe.calls
    assert CardRefund.objects.get().status == "pending"


def test_no_more_is_refunded_than_is_left_and_available(paid: TopUpOrder, stripe: StripeStub) -> None:
    with pytest.raises(card_refunds.NotRefundable, match=r"25\.0000 of it"):
        refund(paid, 26)
    with pytest.raises(ValueError, match="whole cents"):
        card_refunds.refund(order_id=paid.pk, amount_micros=1_000_100, actor="ada", reason="r")
    with pytest.raises(ValueError, match="blank"):
        card_refunds.refund(order_id=paid.pk, amount_micros=1_000_000, actor="ada", reason=" ")
    movements.hold(account_id=paid.account_id, quote_micros=34_000_000)
    with pytest.raises(ledger.InsufficientBalance):
        refund(paid, 2)
    refund(paid, 1)
    apply(stripe_stub.dispute(stripe, paid, "needs_response", cents=2000))
    with pytest.raises(card_refunds.NotRefundable, match=r"4\.0000 of it"):
        refund(paid, 5)
    assert [call.path for call in stripe.calls] == ["/v1/refunds"]
    assert list(audit.audit()) == []


def test_an_order_that_is_not_paid_is_not_refunded(account: Account, stripe: StripeStub) -> None:
    made = card_top_ups.order(account_id=account.pk, amount_micros=25_000_000)
    with pytest.raises(card_refunds.NotRefundable, match="pending"):
        refund(made, 5)


def command(*words: Any) -> str:
    out = StringIO()
    call_command("refund_top_up", *map(str, words), "--reason", "closed", stdout=out)
    return out.getvalue()


def test_the_command_refunds_and_says_what_is_left(paid: TopUpOrder) -> None:
    out = command(paid.pk, "10.00")
    made = CardRefund.objects.get()
    account = paid.account
    assert out == f"{made} of 10.00 USD: account {account.pk} 'demo': balance 25.0000\n"
    assert LedgerEntry.objects.get(request_id=made.pk).actor == actor_of("refund_top_up")


@pytest.mark.parametrize(
    ("failure", "amount", "said"),
    [
        (400, "10", "has its money back"),
        (500, "10", "sends it again"),
        (None, "26", "can be refunded"),
        (None, "x", "not an amount"),
    ],
)
def test_the_command_says_what_went_wrong_in_one_line(
    paid: TopUpOrder, stripe: StripeStub, failure: int | None, amount: str, said: str
) -> None:
    stripe.failure = failure
    with pytest.raises(CommandError, match=said):
        command(paid.pk, amount)


def test_the_command_knows_no_order_that_is_not_there(paid: TopUpOrder) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        command(uuid4(), "1")


def test_the_command_needs_stripe() -> None:
    with pytest.raises(CommandError, match="off"):
        command(uuid4(), "1")


def failure_of(stripe: StripeStub, event_type: str = "refund.failed") -> bytes:
    """Return the event by which the only refund that staff asked for fails."""
    [told] = stripe.refunds.values()
    return stripe_stub.event(
        event_type, {**told, "status": "failed", "failure_reason": "lost_or_stolen_card"}
    )


@pytest.mark.parametrize("event_type", ["refund.failed", "refund.updated", "charge.refund.updated"])
def test_a_refund_that_fails_later_is_given_back_once(
    paid: TopUpOrder, stripe: StripeStub, event_type: str
) -> None:
    made = refund(paid, 25)
    told = stripe_stub.refunded(stripe, paid, 2500)
    [body] = stripe.refunds.values()
    done = stripe_stub.event("refund.created", body)
    assert (made.status, balance(paid)) == ("done", 10)
    # The events come twice, and those of before come last.
    for content in (told, failure_of(stripe, event_type), failure_of(stripe), told, done):
        apply(content)
        assert list(audit.audit()) == []
    made.refresh_from_db()
    paid.refresh_from_db()
    assert (made.status, balance(paid), paid.taken_micros) == ("refused", 35, 0)
    assert [movement.kind for movement in paid.movements.order_by("created_at")] == ["taken", "given_back"]
    assert refund(paid, 25).status == "done"
    apply(stripe_stub.refunded(stripe, paid, 2500))
    assert balance(paid) == 10
    assert list(audit.audit()) == []


def test_a_refund_that_fails_at_once_is_given_back(paid: TopUpOrder, stripe: StripeStub) -> None:
    stripe.refund_status = "failed"
    with pytest.raises(stripe_api.StripeRefused):
        refund(paid, 10)
    assert (CardRefund.objects.get().status, balance(paid)) == ("refused", 35)
    assert list(audit.audit()) == []


def test_an_event_answers_a_refund_whose_reply_was_lost(
    paid: TopUpOrder, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = stripe_api.create_refund

    def lose_reply(**asked: Any) -> None:
        make(**asked)
        raise stripe_api.StripeUnavailable

    monkeypatch.setattr(stripe_api, "create_refund", lose_reply)
    with pytest.raises(stripe_api.StripeUnavailable):
        refund(paid, 10)
    [told] = stripe.refunds.values()
    apply(stripe_stub.event("refund.created", told))
    assert (CardRefund.objects.get().status, balance(paid)) == ("done", 25)
    apply(failure_of(stripe))
    assert (CardRefund.objects.get().status, balance(paid)) == ("refused", 35)
    CardRefund.objects.update(created_at=Now() - timedelta(minutes=6))
    stripe.calls.clear()
    card_refunds.send_pending()
    assert not stripe.calls
    assert list(audit.audit()) == []


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_of_the_dashboard_that_fails_is_given_back(
    paid: TopUpOrder, stripe: StripeStub, status: str
) -> None:
    apply(stripe_stub.refunded(stripe, paid, 1000))
    assert balance(paid) == 25
    refund(paid, 5)
    assert balance(paid) == 20
    for _ in range(2):
        apply(stripe_stub.refund(stripe, paid, status, cents=1000))
        assert balance(paid) == 30
    apply(stripe_stub.refunded(stripe, paid, 1000))
    assert balance(paid) == 30
    # Another one is made in its place.
    apply(stripe_stub.refund(stripe, paid, "succeeded", cents=2000, name="re_second"))
    assert balance(paid) == 10
    assert list(audit.audit()) == []


def test_a_failure_that_is_told_before_or_after_its_replacement_counts_once(
    paid: TopUpOrder, stripe: StripeStub
) -> None:
    first, second = (
        stripe_stub.refund(stripe, paid, "succeeded", cents=2500, name=name) for name in ("re_1", "re_2")
    )
    for content in (second, first):
        apply(content)
        assert balance(paid) == 10
    apply(stripe_stub.refund(stripe, paid, "failed", cents=2500, name="re_1"))
    assert balance(paid) == 10
    apply(stripe_stub.refund(stripe, paid, "failed", cents=2500, name="re_2"))
    assert balance(paid) == 35
    assert list(audit.audit()) == []


def test_a_refund_of_another_payment_or_amount_is_not_applied(paid: TopUpOrder, stripe: StripeStub) -> None:
    stripe.payments["pi_other"] = {"id": "pi_other", "object": "payment_intent", "metadata": {}}
    body = {"id": "re_1", "object": "refund", "amount": 100, "currency": "usd", "status": "failed"}
    for payment in ("pi_other", None):
        apply(stripe_stub.event("refund.failed", {**body, "payment_intent": payment}))
    apply(stripe_stub.refund(stripe, paid, "succeeded", cents=0))
    body["payment_intent"] = stripe.payment_of(paid)
    for change in ({"amount": 2501}, {"currency": "eur"}):
        with pytest.raises(card_top_ups.OrderMismatch):
            apply(stripe_stub.event("refund.failed", {**body, **change}))
    assert balance(paid) == 35
    assert not paid.told_refunds.exists()
