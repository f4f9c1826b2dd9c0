"""/v1/top-ups and Stripe's webhook: orders of an account, and who may say that one is paid."""

import json
from typing import Any

import pytest
from django.test import Client

from billing import card_top_ups
from billing.card_models import TopUpOrder
from tests import factories, movements
from tests.assertions import refusal
from tests.billing import stripe_stub
from tests.billing.stripe_stub import StripeStub
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller, payer
from zekron_api.endpoints import stripe_webhook

pytestmark = pytest.mark.django_db
PATH = "/v1/top-ups"


@pytest.fixture
def me() -> Caller:
    """Return the caller who pays by card."""
    return payer()


@pytest.fixture
def stranger() -> Caller:
    """Return a caller of another account."""
    return payer()


def order(who: Caller, amount: object = "25.00") -> Any:
    return who.post(PATH, {"amount": amount})


def order_of(response: Any) -> TopUpOrder:
    return TopUpOrder.objects.get(pk=response.json()["data"]["id"])


def test_an_order_has_the_page_on_which_a_person_pays(me: Caller, stripe: StripeStub) -> None:
    response = order(me)
    data = response.json()["data"]
    made = order_of(response)
    assert (response.status_code, data["status"], data["amount"]) == (201, "pending", "25.0000")
    assert data["url"] == stripe.sessions[made.session_id]["url"]
    assert (data["paid_at"], data["reversed"]) == (None, "0.0000")
    assert me.get(f"{PATH}/{data['id']}").json()["data"] == data


def test_a_paid_order_is_balance(me: Caller, stripe: StripeStub) -> None:
    made = order_of(order(me))
    content = stripe_stub.paid(stripe, made)
    for _ in range(2):
        received = stripe_stub.send(content)
        assert (received.status_code, received.json()) == (200, {"received": True})
    data = me.get(f"{PATH}/{made.pk}").json()["data"]
    assert (data["status"], data["url"]) == ("paid", None)
    assert data["paid_at"]
    assert me.get("/v1/balance").json()["data"]["balance"] == "35.0000"


def test_a_reversal_shows_in_the_order_and_its_debt_in_the_balance(me: Caller, stripe: StripeStub) -> None:
    assert "debt" not in me.get("/v1/balance").json()["data"]
    made = order_of(order(me))
    stripe_stub.send(stripe_stub.paid(stripe, made))
    spend(me, 30_000_000)
    stripe_stub.send(stripe_stub.refunded(stripe, made, 2000))
    assert me.get(f"{PATH}/{made.pk}").json()["data"]["reversed"] == "20.0000"
    data = me.get("/v1/balance").json()["data"]
    assert (data["balance"], data["debt"]) == ("0.0000", "15.0000")


def spend(who: Caller, micros: int) -> None:
    held = movements.hold(account_id=who.account.pk, quote_micros=micros)
    movements.settle(reservation_id=held.reservation_id, cost_micros=micros)


def test_orders_are_listed_newest_first_and_are_the_accounts_own(
    me: Caller, stranger: Caller, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [order(me).json()["data"]["id"] for _ in range(3)]
    theirs = order(stranger).json()["data"]["id"]
    monkeypatch.setattr(card_top_ups, "MAX_LISTED", 2)
    listed = me.get(PATH).json()["data"]["top_ups"]
    assert [each["id"] for each in listed] == [ids[2], ids[1]]
    for unknown in (theirs, "7", "x" * 40, "00000000-0000-0000-0000-000000000000"):
        assert refusal(me.get(f"{PATH}/{unknown}")) == (404, "not_found")


def test_an_account_has_a_bounded_number_of_orders_that_wait(
    me: Caller, stranger: Caller, stripe: StripeStub
) -> None:
    made = [order_of(order(me)) for _ in range(card_top_ups.MAX_PENDING)]
    stripe.calls.clear()
    refused = order(me)
    assert refusal(refused) == (409, "top_up_limit_exceeded")
    assert refused["x-should-retry"] == "false"
    assert f"has {card_top_ups.MAX_PENDING} top-ups" in refused.json()["error"]["message"]
    assert not stripe.calls
    assert order(stranger).status_code == 201
    stripe_stub.send(stripe_stub.paid(stripe, made[3]))
    assert [order(me).status_code for _ in range(2)] == [201, 409]


@pytest.mark.parametrize(
    "amount",
    [
        None,
        25,
        25.0,
        "",
        "x",
        "-25",
        "1e2",
        "25,00",
        "4.99",
        "500.01",
        "25.001",
        "25.0001",
        "9" * 30,
        [],
        True,
    ],
)
def test_an_amount_that_makes_no_sense_is_refused_by_name(
    me: Caller, stripe: StripeStub, amount: object
) -> None:
    response = order(me, amount)
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith("amount must be")
    assert not stripe.calls


@pytest.mark.parametrize("failure", [0, 400, 401, 429, 500])
def test_an_order_that_stripe_does_not_take_is_503_and_costs_nothing(
    me: Caller, stripe: StripeStub, failure: int
) -> None:
    stripe.failure = failure
    response = order(me)
    assert refusal(response) == (503, "service_unavailable")
    assert response.json()["error"]["message"].startswith("Card payments are temporarily unavailable.")
    assert TopUpOrder.objects.get().status == "failed"


def test_without_stripe_everything_is_404(me: Caller) -> None:
    for response in (order(me), me.get(PATH), me.get(f"{PATH}/7"), stripe_stub.send(b"{}")):
        assert refusal(response) == (404, "not_found")
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = Client().generic(method, "/stripe/webhook")
        assert refusal(response) == (404, "not_found")
    assert not TopUpOrder.objects.exists()


@pytest.mark.parametrize(
    "signed",
    [{"secret": "whsec_other"}, {"age_seconds": 400}],
)
def test_an_event_that_stripe_did_not_sign_just_now_is_refused(
    me: Caller, stripe: StripeStub, signed: dict[str, Any]
) -> None:
    made = order_of(order(me))
    content = stripe_stub.paid(stripe, made)
    assert refusal(stripe_stub.send(content, **signed)) == (400, "bad_request")
    assert me.get("/v1/balance").json()["data"]["balance"] == "10.0000"


@pytest.mark.parametrize("header", [None, "", "x", "t=,v1=", "t=1", "v1=00", "t=1,v1=00,v1=\xff"])
def test_a_signature_that_is_none_is_refused(stripe: StripeStub, header: str | None) -> None:
    headers = {} if header is None else {"Stripe-Signature": header}
    response = Client(raise_request_exception=False).post(
        "/stripe/webhook", b"{}", content_type="application/json", headers=headers
    )
    assert refusal(response) == (400, "bad_request")


def test_a_signature_is_of_these_very_bytes(me: Caller, stripe: StripeStub) -> None:
    content = stripe_stub.paid(stripe, order_of(order(me)))
    changed = json.dumps(json.loads(content), indent=1).encode()
    response = Client(raise_request_exception=False).post(
        "/stripe/webhook",
        changed,
        content_type="application/json",
        headers={"Stripe-Signature": stripe_stub.signature(content)},
    )
    assert response.status_code == 400


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]x", b"{"])
def test_signed_bytes_that_are_no_event_are_refused(stripe: StripeStub, content: bytes) -> None:
    response = Client(raise_request_exception=False).post(
        "/stripe/webhook",
        content,
        content_type="application/json",
        headers={"Stripe-Signature": stripe_stub.signature(content.decode("latin-1").encode())},
    )
    assert response.status_code == 400


def test_an_event_that_fails_is_answered_so_that_stripe_sends_it_again(
    me: Caller, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = order_of(order(me))
    content = stripe_stub.paid(stripe, made)

    def fail(**_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr("billing.ledger.top_up", fail)
        assert refusal(stripe_stub.send(content)) == (500, "internal_error")
    made.refresh_from_db()
    assert made.status == "pending"
    wrong = stripe_stub.event("checkout.session.completed", {**stripe.pay(made), "amount_total": 1})
    assert refusal(stripe_stub.send(wrong)) == (500, "internal_error")
    assert stripe_stub.send(content).status_code == 200
    assert me.get("/v1/balance").json()["data"]["balance"] == "35.0000"


def test_a_webhook_takes_posts_of_bounded_size_without_a_csrf_token(
    me: Caller, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stripe_stub.paid(stripe, order_of(order(me)))
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    headers = {"Stripe-Signature": stripe_stub.signature(content)}
    sent = strict.post("/stripe/webhook", content, content_type="application/json", headers=headers)
    assert sent.status_code == 200
    assert refusal(strict.get("/stripe/webhook")) == (405, "method_not_allowed")
    monkeypatch.setattr(stripe_webhook, "MAX_BYTES", 10)
    assert refusal(stripe_stub.send(content)) == (413, "payload_too_large")


def test_the_bounds_are_those_of_the_settings(me: Caller, stripe: StripeStub, settings: Any) -> None:
    settings.TOP_UP_MIN_USD, settings.TOP_UP_MAX_USD = 1, 2
    assert [order(me, amount).status_code for amount in ("0.99", "1", "2.00", "2.01")] == [400, 201, 201, 400]


@pytest.mark.django_db(transaction=True)
def test_orders_at_once_are_no_more_than_orders_in_turn(me: Caller, stripe: StripeStub) -> None:
    statuses = factories.at_once(16, lambda _: order(me).status_code)
    assert sorted(statuses) == [201] * card_top_ups.MAX_PENDING + [409] * (16 - card_top_ups.MAX_PENDING)


@pytest.mark.django_db(transaction=True)
def test_the_webhook_gets_the_very_bytes_through_the_whole_server(
    room: asgi_client.Served, me: Caller, stripe: StripeStub
) -> None:
    content = stripe_stub.paid(stripe, order_of(order(me)))
    headers = [("stripe-signature", stripe_stub.signature(content)), ("content-type", "application/json")]
    assert room.send("POST", "/stripe/webhook", headers, content).status_code == 200
    me.account.refresh_from_db()
    assert me.account.balance_micros == 35_000_000
