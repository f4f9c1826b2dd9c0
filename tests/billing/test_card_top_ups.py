"""Top-ups by card: credited once whatever Stripe sends, how often and in which order."""

from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from billing import (
    accounts,
    audit,
    card_top_ups,
    checks,
    income_audit,
    ledger,
    stripe_api,
    stripe_events,
)
from billing.card_models import CardMovement, TopUpOrder
from billing.models import Account, LedgerEntry
from tests import factories, movements
from tests.billing import stripe_stub
from tests.billing.stripe_stub import StripeStub
from tests.billing.tampering import tamper

pytestmark = pytest.mark.django_db


def order(account: Account, dollars: int = 25) -> TopUpOrder:
    return card_top_ups.order(account_id=account.pk, amount_micros=dollars * 10**6)


def apply(content: bytes) -> None:
    """Handle an event as the webhook does."""
    event_type, body = stripe_api.read_event(content=content, signature=stripe_stub.signature(content))
    stripe_events.handle(event_type=event_type, body=body)


def figures(account: Account) -> tuple[float, float, str]:
    """Return the balance and the debt in dollars, and the status."""
    account.refresh_from_db()
    return account.balance_micros / 10**6, account.debt_micros / 10**6, account.status


def test_the_order_is_written_before_stripe_is_asked(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    [call] = stripe.calls
    assert (call.method, call.path, call.key) == ("post", "/v1/checkout/sessions", str(made.pk))
    assert call.form["client_reference_id"] == str(made.pk)
    assert call.form["line_items[0][price_data][unit_amount]"] == "2500"
    assert call.form["line_items[0][price_data][currency]"] == "usd"
    assert call.form["invoice_creation[enabled]"] == "true"
    assert call.form["allowed_payment_method_types[0]"] == "card"
    assert (call.form["mode"], call.form["adaptive_pricing[enabled]"]) == ("payment", "false")
    assert call.form["success_url"] == call.form["cancel_url"] == settings.PUBLIC_URL
    assert (made.status, made.url) == ("pending", stripe.sessions[made.session_id]["url"])
    assert figures(account)[0] == 10
    stripe.failure = 500
    with pytest.raises(stripe_api.StripeUnavailable):
        order(account)
    assert TopUpOrder.objects.latest("created_at").status == "failed"


@pytest.mark.parametrize(
    "micros", [0, 4_999_900, 4_990_000, 500_010_000, 25_000_100, 25_005_000, -25_000_000]
)
def test_an_amount_out_of_bounds_is_refused_before_anything(
    account: Account, stripe: StripeStub, micros: int
) -> None:
    with pytest.raises(card_top_ups.AmountOutOfBounds, match=r"from 5\.00 to 500\.00"):
        card_top_ups.order(account_id=account.pk, amount_micros=micros)
    assert not TopUpOrder.objects.exists()
    assert not stripe.calls


def test_a_payment_is_credited_once_by_its_order(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    content = stripe_stub.paid(stripe, made)
    for _ in range(3):
        apply(content)
    apply(stripe_stub.paid(stripe, made, event_type="checkout.session.async_payment_succeeded"))
    made.refresh_from_db()
    entry = LedgerEntry.objects.get(request_id=made.pk)
    assert (entry.kind, entry.amount_micros, entry.actor) == ("credit", 25_000_000, "Stripe Checkout")
    assert made.session_id in entry.reason
    assert (made.status, made.payment_intent_id) == ("paid", stripe.payment_of(made))
    assert figures(account)[0] == 35
    assert list(audit.audit()) == []


def test_a_session_that_is_complete_and_unpaid_credits_nothing(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    session = {**stripe.pay(made), "payment_status": "unpaid"}
    apply(stripe_stub.event("checkout.session.completed", session))
    made.refresh_from_db()
    assert (made.status, figures(account)[0]) == ("pending", 10)
    apply(stripe_stub.event("checkout.session.async_payment_failed", session))
    made.refresh_from_db()
    assert made.status == "failed"


def test_a_late_payment_of_an_expired_order_is_credited(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    apply(stripe_stub.event("checkout.session.expired", stripe.sessions[made.session_id]))
    made.refresh_from_db()
    assert made.status == "expired"
    apply(stripe_stub.paid(stripe, made))
    assert figures(account)[0] == 35
    apply(stripe_stub.event("checkout.session.expired", {**stripe.sessions[made.session_id], **UNPAID}))
    made.refresh_from_db()
    assert made.status == "paid"


UNPAID = {"payment_status": "unpaid", "status": "expired"}


@pytest.mark.parametrize("change", [{"amount_total": 2600}, {"amount_total": 2400}, {"currency": "eur"}])
def test_a_payment_of_another_amount_or_currency_credits_nothing(
    account: Account, stripe: StripeStub, change: dict[str, Any]
) -> None:
    made = order(account)
    with pytest.raises(card_top_ups.OrderMismatch):
        apply(stripe_stub.event("checkout.session.completed", {**stripe.pay(made), **change}))
    assert figures(account)[0] == 10


@pytest.mark.parametrize(
    "metadata", [None, {}, {"zekron_order": "42"}, {"zekron_order": "7d3c1f0e-5a7b-4c53-9a52-6f0f2f3b9a11"}]
)
def test_a_payment_of_another_shop_is_ignored(
    account: Account, stripe: StripeStub, metadata: dict[str, str] | None
) -> None:
    made = order(account)
    # A customer can set client_reference_id in the address of another shop's Payment Link.
    session = {**stripe.pay(made), "id": "cs_other", "payment_intent": "pi_link", "metadata": metadata}
    assert session["client_reference_id"] == str(made.pk)
    apply(stripe_stub.event("checkout.session.completed", session))
    apply(stripe_stub.event("checkout.session.expired", {**session, **UNPAID}))
    made.refresh_from_db()
    assert made.status == "pending"
    stripe.payments["pi_other"] = {"id": "pi_other", "object": "payment_intent", "metadata": {}}
    charge = {
        "payment_intent": "pi_other",
        "amount_refunded": 100,
        "currency": "usd",
        "id": "ch_9",
        "object": "charge",
    }
    apply(stripe_stub.event("charge.refunded", charge))
    apply(stripe_stub.event("charge.refunded", {**charge, "payment_intent": None}))
    apply(stripe_stub.event("customer.created", {"id": "cus_1", "object": "customer"}))
    assert (figures(account)[0], LedgerEntry.objects.count()) == (10, 1)


def test_an_order_is_paid_and_ended_by_its_own_session_alone(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    other = {**stripe.pay(made), "id": "cs_other"}
    with pytest.raises(card_top_ups.OrderMismatch, match="another session"):
        apply(stripe_stub.event("checkout.session.completed", other))
    apply(stripe_stub.event("checkout.session.expired", {**other, **UNPAID}))
    made.refresh_from_db()
    assert (made.status, figures(account)[0]) == ("pending", 10)
    # The event of its own session may come before the reply that names it.
    TopUpOrder.objects.filter(pk=made.pk).update(session_id="", url="")
    apply(stripe_stub.event("checkout.session.completed", stripe.pay(made)))
    assert figures(account)[0] == 35


def test_refunds_are_taken_out_by_their_sum(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    for cents, balance in ((500, 30.0), (500, 30.0), (1250, 22.5), (500, 22.5), (2500, 10.0)):
        apply(stripe_stub.refunded(stripe, made, cents))
        assert figures(account) == (balance, 0, "active")
        assert list(audit.audit()) == []
    assert CardMovement.objects.count() == 3
    with pytest.raises(card_top_ups.OrderMismatch):
        apply(stripe_stub.refunded(stripe, made, 2501))


def test_a_refund_of_what_was_spent_becomes_a_debt(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    spent = movements.hold(account_id=account.pk, quote_micros=30_000_000)
    movements.settle(reservation_id=spent.reservation_id, cost_micros=30_000_000)
    movements.hold(account_id=account.pk, quote_micros=1_000_000)
    apply(stripe_stub.refunded(stripe, made, 2500))
    assert figures(account) == (1, 21, "active")
    apply(stripe_stub.paid(stripe, order(account)))
    assert figures(account) == (5, 0, "active")
    assert list(audit.audit()) == []


def test_a_dispute_takes_the_amount_and_suspends_and_a_won_one_gives_it_back(
    account: Account, stripe: StripeStub
) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    ledger.refund(account_id=account.pk, amount_micros=20_000_000, actor="ada", reason="r")
    for _ in range(2):
        apply(stripe_stub.dispute(stripe, made, "needs_response"))
        assert figures(account) == (0, 10, "suspended")
    apply(stripe_stub.dispute(stripe, made, "won"))
    assert figures(account) == (15, 0, "suspended")
    made.refresh_from_db()
    assert made.taken_micros == 0
    kinds = list(LedgerEntry.objects.order_by("sequence").values_list("kind", "actor"))
    assert kinds[-2:] == [("credit", "Stripe Checkout"), ("refund", "debt payment")]
    accounts.reinstate(account_id=account.pk)
    apply(stripe_stub.dispute(stripe, made, "needs_response"))
    assert figures(account) == (15, 0, "active")
    assert list(audit.audit()) == []


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_closed", "prevented", "won"])
def test_an_inquiry_and_a_dispute_that_was_won_already_take_nothing(
    account: Account, stripe: StripeStub, status: str
) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    apply(stripe_stub.dispute(stripe, made, status))
    assert figures(account) == (35, 0, "active")


@pytest.mark.parametrize("cents", [0, -500])
def test_a_dispute_or_refund_of_nothing_takes_nothing(
    account: Account, stripe: StripeStub, cents: int
) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    apply(stripe_stub.dispute(stripe, made, "needs_response", cents=cents))
    apply(stripe_stub.refunded(stripe, made, cents))
    assert figures(account) == (35, 0, "active")
    # Its amount may be told later.
    apply(stripe_stub.dispute(stripe, made, "needs_response", cents=500))
    assert figures(account) == (30, 0, "suspended")
    assert list(audit.audit()) == []


def test_refunds_and_disputes_together_take_no_more_than_was_paid(
    account: Account, stripe: StripeStub
) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    apply(stripe_stub.dispute(stripe, made, "needs_response", cents=9900))
    apply(stripe_stub.refunded(stripe, made, 1000))
    apply(stripe_stub.dispute(stripe, made, "lost", cents=1000, name="dp_2"))
    assert figures(account) == (10, 0, "suspended")
    apply(stripe_stub.dispute(stripe, made, "won"))
    assert figures(account) == (15, 0, "suspended")
    assert list(audit.audit()) == []


def test_a_refund_that_is_told_before_the_payment_waits_for_it(account: Account, stripe: StripeStub) -> None:
    made = order(account)
    apply(stripe_stub.refunded(stripe, made, 1000))
    apply(stripe_stub.dispute(stripe, made, "needs_response", cents=500))
    assert figures(account) == (10, 0, "suspended")
    apply(stripe_stub.paid(stripe, made))
    assert figures(account) == (20, 0, "suspended")
    assert list(audit.audit()) == []


@pytest.mark.slow
@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_order_and_any_duplication_of_events_credits_once(
    stripe: StripeStub, data: st.DataObject
) -> None:
    with transaction.atomic():
        owner = factories.account(balance_micros=data.draw(st.sampled_from([0, 4_000_000])))
        made = order(owner)
        outcome = data.draw(st.sampled_from(["won", "lost"]))
        contested = data.draw(st.sampled_from([500, 2500]))
        events = {
            "paid": stripe_stub.paid(stripe, made),
            "refunded in part": stripe_stub.refunded(stripe, made, 300),
            "refunded more": stripe_stub.refunded(stripe, made, 1200),
            "300 more": stripe_stub.refund(stripe, made, "succeeded", cents=300, name="re_1"),
            "200 more": stripe_stub.refund(stripe, made, "pending", cents=200, name="re_2"),
            "200 failed": stripe_stub.refund(stripe, made, "failed", cents=200, name="re_2"),
            "400 failed": stripe_stub.refund(stripe, made, "failed", cents=400, name="re_3"),
            "900 more": stripe_stub.refund(stripe, made, "succeeded", cents=900, name="re_4"),
            "disputed": stripe_stub.dispute(stripe, made, "needs_response", cents=contested),
            "decided": stripe_stub.dispute(stripe, made, outcome, cents=contested),
        }
        others = st.lists(st.sampled_from([*events, "spend", "topped up"]), max_size=6)
        story = data.draw(st.permutations([*events, *data.draw(others)]))
        for step in story:
            if step == "spend":
                _spend(owner)
            elif step == "topped up":
                ledger.top_up(account_id=owner.pk, amount_micros=7_000_000, actor="a", reason="r")
            else:
                apply(events[step])
            for equations in (audit.ACCOUNTS, *income_audit.CHECKS):
                assert list(audit.lines(equations)) == []
        assert list(audit.audit()) == []
        assert LedgerEntry.objects.filter(request_id=made.pk, kind="credit").count() == 1
        made.refresh_from_db()
        disputed = contested if outcome == "lost" else 0
        assert made.taken_micros == min(2500, 1200 + disputed) * 10_000
        transaction.set_rollback(True)


def _spend(owner: Account) -> None:
    """Charge a half of what is available, and keep some of the rest on hold."""
    owner.refresh_from_db()
    quote = owner.available_micros // 200 * 100
    if quote and owner.status == "active":
        held = movements.hold(account_id=owner.pk, quote_micros=quote)
        movements.settle(reservation_id=held.reservation_id, cost_micros=quote)
        if left := owner.available_micros // 1000 * 100:
            movements.hold(account_id=owner.pk, quote_micros=left)


@pytest.mark.django_db(transaction=True)
def test_events_at_once_credit_once(stripe: StripeStub) -> None:
    owner = factories.account(balance_micros=0)
    made = order(owner)
    content, reversal = stripe_stub.paid(stripe, made), stripe_stub.refunded(stripe, made, 1000)
    outcomes = factories.at_once(16, lambda index: apply(reversal if index % 4 == 0 else content))
    assert outcomes == [None] * 16
    assert figures(owner) == (15, 0, "active")
    assert CardMovement.objects.count() == 1
    assert list(audit.audit()) == []


def test_half_a_configuration_is_an_error_of_the_check(settings: Settings) -> None:
    assert checks.check_stripe() == []
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    [error] = checks.check_stripe()
    assert (error.id, "STRIPE_WEBHOOK_SECRET" in error.msg) == ("billing.E001", True)
    settings.STRIPE_WEBHOOK_SECRET = "whsec_x"
    assert checks.check_stripe() == []
    settings.TOP_UP_MIN_USD = 501
    assert [error.id for error in checks.check_stripe()] == ["billing.E003"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE billing_topuporder SET amount_micros = 26000000", "has no such credit"),
        ("UPDATE billing_topuporder SET taken_micros = 0", "and has movements of"),
        ("UPDATE billing_topuporder SET refunded_micros = 2000000", "has taken back 10000000 micros, due is"),
        (
            "UPDATE billing_topuporder SET refund_failed_micros = 10000",
            "says 10000 micros of refunds failed, 0",
        ),
        (
            "UPDATE billing_topuporder SET status = 'expired', paid_at = NULL, taken_micros = 0",
            "has the entry",
        ),
        ("DELETE FROM billing_cardmovement", "belongs to no top-up by card"),
        ("UPDATE billing_cardmovement SET amount_micros = 20000000", "has an entry of"),
        ("UPDATE billing_cardmovement SET kind = 'given_back'", "has an entry of 0 and a debt of 0"),
        ("DELETE FROM billing_topuporder", "belongs to no top-up by card"),
        ("UPDATE billing_account SET debt_micros = 0", "debt 0 is not the debt entries' sum 3000000"),
        ("UPDATE billing_debtentry SET debt_after_micros = 100", "stores debt 100, due is"),
        ("DELETE FROM billing_debtentry WHERE kind = 'paid'", "pays no debt"),
        ("DELETE FROM billing_debtentry WHERE kind = 'raised'", "has an entry of"),
        ("UPDATE billing_ledgerentry SET actor = 'ada' WHERE actor = 'debt payment'", "has no payment"),
        (
            "UPDATE billing_debtentry SET request_id = gen_random_uuid() WHERE kind = 'raised'",
            "belongs to no",
        ),
    ],
)
def test_the_audit_finds_tampering_with_card_payments(
    account: Account, stripe: StripeStub, statement: str, said: str
) -> None:
    made = order(account)
    apply(stripe_stub.paid(stripe, made))
    ledger.refund(account_id=account.pk, amount_micros=30_000_000, actor="ada", reason="r")
    apply(stripe_stub.refunded(stripe, made, 1000))
    ledger.top_up(account_id=account.pk, amount_micros=2_000_000, actor="ada", reason="r")
    assert figures(account) == (0, 3, "active")
    assert list(audit.audit()) == []
    tamper(statement)
    assert any(said in problem for problem in audit.audit()), list(audit.audit())


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("amount_micros = 0", "order_amount"),
        ("amount_micros = 25000100", "order_amount"),
        ("status = 'paid'", "order_status"),
        ("status = 'lost'", "order_status"),
        ("taken_micros = 100", "order_status"),
        ("taken_micros = 30000000, status = 'paid', paid_at = now()", "order_reversals"),
        ("refunded_micros = 30000000", "order_reversals"),
        ("refund_asked_micros = -10000", "order_reversals"),
    ],
)
def test_the_database_refuses_an_order_that_cannot_be(
    account: Account, stripe: StripeStub, change: str, constraint: str
) -> None:
    order(account)
    with (
        pytest.raises(IntegrityError, match=f'"{constraint}"'),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE billing_topuporder SET {change}")  # noqa: S608
