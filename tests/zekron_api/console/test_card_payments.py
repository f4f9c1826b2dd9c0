"""Payments by card on the page Billing: to Stripe, back again, and what may go wrong."""

import pytest
from django.test import Client
from pytest_django import Settings

from billing import card_top_ups
from billing.card_models import TopUpOrder
from billing.models import Account
from tests import factories
from tests.billing import stripe_stub
from tests.billing.stripe_stub import StripeStub
from tests.zekron_api.console.browsing import send, text_of
from tests.zekron_api.console.people import member, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def owner(account: Account) -> Client:
    return signed_in(member(account))


def page(account: Account, rest: str = "") -> str:
    return f"/console/{account.pk}/billing{rest}"


def shown(who: Client, account: Account, rest: str = "") -> str:
    """Return the text of the page, without its tags."""
    response = who.get(page(account, rest))
    assert response.status_code == 200, response.content
    return text_of(response)


def test_without_cards_the_page_says_how_credit_comes(account: Account, owner: Client) -> None:
    text = shown(owner, account)
    assert "This service takes no cards. Get a redemption code from its operator" in text
    assert "Amount in USD" not in text
    assert send(owner, page(account, "/top-up"), amount="25")["Location"] == page(account, "#main")


def test_an_order_leads_to_stripe_and_back_to_this_page(
    account: Account, owner: Client, stripe: StripeStub, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://api.example.com"
    response = send(owner, page(account, "/top-up"), amount="25")
    [call] = stripe.calls
    order = TopUpOrder.objects.get()
    assert (response.status_code, response["Location"]) == (302, stripe.sessions[order.session_id]["url"])
    assert call.form["success_url"] == f"https://api.example.com{page(account)}?returned=1"
    assert call.form["cancel_url"] == call.form["success_url"]
    assert "Waits for payment" in shown(owner, account)


def test_the_operators_own_page_of_return_comes_first(
    account: Account, owner: Client, stripe: StripeStub, settings: Settings
) -> None:
    settings.TOP_UP_RETURN_URL = "https://shop.example.com/thanks"
    send(owner, page(account, "/top-up"), amount="25")
    assert stripe.calls[0].form["success_url"] == "https://shop.example.com/thanks"


def test_a_person_who_returns_learns_whether_the_payment_has_arrived(
    account: Account, owner: Client, stripe: StripeStub
) -> None:
    assert (
        "payment"
        not in shown(owner, account, "?returned=1").partition("Ledger")[0].lower().partition("usd")[2][:0]
    )
    send(owner, page(account, "/top-up"), amount="25")
    assert "If you have paid 25.0000 USD" in shown(owner, account, "?returned=1")
    stripe_stub.send(stripe_stub.paid(stripe, TopUpOrder.objects.get()))
    text = shown(owner, account, "?returned=1")
    assert "The payment of 25.0000 USD has arrived." in text
    assert "Balance 35.0000 USD" in text
    assert "Card payment +25.0000 USD" in text


@pytest.mark.parametrize("amount", ["4.99", "500.01", "25.001", "-5", "abc", ""])
def test_a_wrong_amount_comes_back_with_the_bounds(
    account: Account, owner: Client, stripe: StripeStub, amount: str
) -> None:
    response = send(owner, page(account, "/top-up"), amount=amount)
    content = response.content.decode()
    assert response.status_code == 200
    assert not amount or f'value="{amount}"' in content
    assert "From 5 to 500 USD, in whole cents." in content
    assert 'aria-invalid="true"' in content
    assert not stripe.calls


def test_too_many_unpaid_orders_and_an_absent_stripe_are_explained(
    account: Account, owner: Client, stripe: StripeStub
) -> None:
    stripe.failure = 0
    response = send(owner, page(account, "/top-up"), amount="25")
    assert "Card payments are temporarily unavailable." in text_of(response)
    assert 'value="25"' in response.content.decode()
    TopUpOrder.objects.bulk_create(
        TopUpOrder(account=account, amount_micros=5_000_000) for _ in range(card_top_ups.MAX_PENDING)
    )
    response = send(owner, page(account, "/top-up"), amount="25")
    assert "10 top-ups wait for their payment" in text_of(response)


def test_the_policy_lets_the_form_lead_to_stripe_and_nowhere_else(account: Account, owner: Client) -> None:
    policy = owner.get(page(account))["Content-Security-Policy"]
    assert "form-action 'self' https://checkout.stripe.com" in policy
    assert "default-src 'self'" in policy
    assert "stripe" not in owner.get(f"/console/{account.pk}/usage")["Content-Security-Policy"]
