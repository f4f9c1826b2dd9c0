"""POST /v1/redemptions: a code becomes balance, once, and nobody finds one by guessing."""

from typing import Any

import pytest
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller, payer

pytestmark = pytest.mark.django_db
PATH = "/v1/redemptions"
UNKNOWN = {"code": "00000-00000-00000-00000-00000-00000"}


@pytest.fixture
def me() -> Caller:
    """Return the caller who redeems codes."""
    return payer()


@pytest.fixture
def stranger() -> Caller:
    """Return a caller of another account."""
    return payer()


def redeem(who: Caller, text: object, *, address: str = "192.0.2.1") -> Any:
    headers = {"Authorization": f"Bearer {who.key}"}
    body = {"code": text}
    return who.client.post(PATH, body, content_type="application/json", headers=headers, REMOTE_ADDR=address)


def test_a_code_becomes_balance(me: Caller) -> None:
    text = factories.redemption_code()
    response = redeem(me, text)
    data = response.json()["data"]
    assert response.status_code == 200
    assert (data["amount"], data["balance"], data["currency"]) == ("25.0000", "35.0000", "USD")
    assert "Idempotent-Replayed" not in response
    assert me.get("/v1/balance").json()["data"]["balance"] == "35.0000"


def test_the_account_that_redeemed_a_code_may_ask_again(me: Caller) -> None:
    text = factories.redemption_code()
    first = redeem(me, text)
    again = redeem(me, text)
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.json() == first.json()


def test_a_code_of_another_account_is_refused_as_an_unknown_one_is(me: Caller, stranger: Caller) -> None:
    text = factories.redemption_code()
    redeem(stranger, text)
    replies = [redeem(me, text), redeem(me, UNKNOWN["code"])]
    assert {refusal(reply) for reply in replies} == {(400, "invalid_code")}
    assert len({reply.json()["error"]["message"] for reply in replies}) == 1
    assert len({tuple(sorted(reply.headers)) for reply in replies}) == 1


@pytest.mark.parametrize("value", [None, 7, True, ["x"], {}])
def test_a_code_that_is_no_text_is_refused_by_name(me: Caller, value: object) -> None:
    response = redeem(me, value)
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith("code must be a string")


def test_an_account_that_guesses_is_stopped_whatever_addresses_it_has(me: Caller, settings: Settings) -> None:
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 3
    text = factories.redemption_code()
    for number in range(3):
        assert redeem(me, "x", address=f"192.0.2.{number}").status_code == 400
    stopped = redeem(me, text, address="192.0.2.9")
    assert refusal(stopped) == (429, "rate_limit_exceeded")
    assert int(stopped["Retry-After"]) > 60
    assert stopped["x-should-retry"] == "false"
    me.account.refresh_from_db()
    assert me.account.balance_micros == 10_000_000


def test_an_address_that_guesses_is_stopped_whatever_accounts_it_has(
    me: Caller, stranger: Caller, settings: Settings
) -> None:
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ADDRESS = 3
    text = factories.redemption_code()
    for number, who in enumerate([me, stranger, me]):
        # One client has all addresses of such a network.
        assert redeem(who, "x", address=f"2001:db8::{number}").status_code == 400
    assert refusal(redeem(stranger, text, address="2001:db8::9")) == (429, "rate_limit_exceeded")
    assert redeem(stranger, text, address="2001:db8:0:1::9").status_code == 200


def test_what_succeeds_and_what_is_no_guess_counts_as_no_failure(me: Caller, settings: Settings) -> None:
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 1
    texts = [factories.redemption_code() for _ in range(3)]
    for text in [*texts, *texts]:
        assert redeem(me, text).status_code == 200
    for _ in range(3):
        assert redeem(me, None).status_code == 400
    assert refusal(redeem(me, "x")) == (400, "invalid_code")
    assert refusal(redeem(me, "x")) == (429, "rate_limit_exceeded")


@pytest.mark.django_db(transaction=True)
def test_guesses_at_once_learn_no_more_than_guesses_in_turn(me: Caller, settings: Settings) -> None:
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 3
    statuses = factories.at_once(12, lambda _: redeem(me, "x").status_code)
    assert sorted(statuses) == [400] * 3 + [429] * 9
