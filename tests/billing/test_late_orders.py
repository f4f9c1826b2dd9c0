"""Orders whose event was lost: asked for in turn, and ended by nothing but an answer of Stripe."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.db.models import F
from django.db.models.functions import Now

from billing import card_top_ups, late_orders, stripe_api, tasks
from billing.card_models import TopUpOrder
from billing.models import Account
from tests.billing.stripe_stub import StripeStub

pytestmark = pytest.mark.django_db


def order(account: Account) -> TopUpOrder:
    return card_top_ups.order(account_id=account.pk, amount_micros=25_000_000)


def balance(account: Account) -> float:
    account.refresh_from_db()
    return account.balance_micros / 10**6


def _age(made: TopUpOrder, age: timedelta) -> None:
    TopUpOrder.objects.filter(pk=made.pk).update(created_at=Now() - age)


def test_an_order_whose_event_was_lost_is_asked_for(account: Account, stripe: StripeStub) -> None:
    paid, fresh, waiting, gone = (order(account) for _ in range(4))
    for made in (paid, waiting, gone):
        _age(made, timedelta(minutes=16))
    stripe.pay(paid)
    stripe.pay(fresh)
    stripe.sessions[gone.session_id] |= {"status": "expired", "url": None}
    stripe.calls.clear()
    tasks.check_card_payments()
    assert sorted(call.path.rpartition("/")[2] for call in stripe.calls) == sorted(
        made.session_id for made in (paid, waiting, gone)
    )
    statuses = {made.pk: made.status for made in TopUpOrder.objects.all()}
    assert [statuses[made.pk] for made in (paid, fresh, waiting, gone)] == [
        "paid",
        "pending",
        "pending",
        "expired",
    ]
    assert balance(account) == 35
    stripe.calls.clear()
    tasks.check_card_payments()
    assert not stripe.calls


def test_rounds_are_bounded_and_a_session_that_stripe_does_not_know_stops_no_other(
    account: Account, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_orders, "MAX_CHECKED_AT_ONCE", 2)
    for _ in range(3):
        _age(order(account), timedelta(minutes=16))
    stripe.failure = 400
    stripe.calls.clear()
    assert [late_orders.check() for _ in range(3)] == [2, 1, 0]
    assert len(stripe.calls) == 3


def test_an_order_of_another_amount_stops_no_other(account: Account, stripe: StripeStub) -> None:
    wrong, right = order(account), order(account)
    for made in (wrong, right):
        _age(made, timedelta(minutes=16))
        stripe.pay(made)
    stripe.sessions[wrong.session_id]["amount_total"] = 1
    assert late_orders.check() == 2
    wrong.refresh_from_db()
    right.refresh_from_db()
    assert (wrong.status, right.status) == ("pending", "paid")


def test_newer_orders_do_not_keep_an_older_one_from_being_asked_for(
    account: Account, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_orders, "MAX_CHECKED_AT_ONCE", 2)
    made = order(account)
    _age(made, timedelta(minutes=16))
    assert late_orders.check() == 1
    stripe.pay(made)
    stripe.sessions["cs_open"] = {
        **stripe.sessions[made.session_id],
        "payment_status": "unpaid",
        "status": "open",
    }
    for _ in range(10):
        # Each round has as many new orders of others as it can ask for.
        TopUpOrder.objects.bulk_create(
            TopUpOrder(account=account, amount_micros=5_000_000, session_id="cs_open") for _ in range(2)
        )
        _let_pass(timedelta(minutes=5))
        late_orders.check()
    assert balance(account) == 35


def test_an_order_is_asked_for_less_often_as_it_grows_older_and_never_less_than_every_six_hours(
    account: Account, stripe: StripeStub
) -> None:
    order(account)
    asked = []
    for minutes in range(5, 40 * 60, 5):
        _let_pass(timedelta(minutes=5))
        if late_orders.check():
            asked.append(minutes / 60)
    times = list(pairwise(asked))
    assert [round(later / earlier) for earlier, later in times[:5]] == [2] * 5
    waits = [later - earlier for earlier, later in times[5:]]
    assert len(waits) >= 4
    assert waits == pytest.approx([6] * len(waits), abs=0.2)
    assert TopUpOrder.objects.get().status == "pending"


def _let_pass(time: timedelta) -> None:
    """Make all orders older."""
    TopUpOrder.objects.update(created_at=F("created_at") - time, checked_at=F("checked_at") - time)


@pytest.mark.parametrize("failure", [0, 401, 500])
def test_an_order_ends_by_an_answer_of_stripe_and_not_by_its_age(
    account: Account, stripe: StripeStub, failure: int
) -> None:
    made = order(account)
    _age(made, timedelta(hours=26))
    stripe.pay(made)
    stripe.failure = failure
    with pytest.raises(stripe_api.StripeUnavailable):
        late_orders.check()
    made.refresh_from_db()
    assert made.status == "pending"
    stripe.failure = None
    _let_pass(timedelta(hours=7))
    late_orders.check()
    assert balance(account) == 35


def test_an_order_is_given_up_once_its_page_has_ended_and_one_without_a_page_at_once(
    account: Account, stripe: StripeStub
) -> None:
    ended, unknown, lost = order(account), order(account), order(account)
    for made, age in ((ended, 26 * 60), (unknown, 24 * 60), (lost, 16)):
        _age(made, timedelta(minutes=age))
    stripe.sessions[ended.session_id] |= {"status": "expired", "url": None}
    stripe.unknown.add(unknown.session_id)
    TopUpOrder.objects.filter(pk=lost.pk).update(session_id="", url="")
    late_orders.check()
    assert [_status(made) for made in (ended, unknown, lost)] == ["expired", "pending", "failed"]
    # A page that Stripe does not know can be open no more.
    _let_pass(timedelta(hours=7))
    late_orders.check()
    assert _status(unknown) == "expired"


def _status(made: TopUpOrder) -> str:
    made.refresh_from_db()
    return made.status


def test_without_stripe_the_task_does_nothing(account: Account) -> None:
    TopUpOrder.objects.create(account=account, amount_micros=25_000_000, session_id="cs_1")
    _age(TopUpOrder.objects.get(), timedelta(minutes=16))
    tasks.check_card_payments()
    assert TopUpOrder.objects.get().checked_at is None
