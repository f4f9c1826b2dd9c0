"""The page Billing: what members see, and what owners do with codes, cards and alerts."""

import re

import pytest
from django.test import Client
from pytest_django import Settings

from billing import alerts, card_top_ups, codes, ledger
from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.assertions import refusal
from tests.billing.stripe_stub import StripeStub
from tests.zekron_api.console.browsing import send, text_of
from tests.zekron_api.console.people import member, signed_in
from workers.models import Status

pytestmark = pytest.mark.django_db

UNKNOWN = "00000-00000-00000-00000-00000-00000"


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def owner(account: Account) -> Client:
    return signed_in(member(account))


@pytest.fixture
def viewer(account: Account) -> Client:
    return signed_in(member(account, Role.VIEWER))


def page(account: Account, rest: str = "") -> str:
    return f"/console/{account.pk}/billing{rest}"


def shown(who: Client, account: Account, rest: str = "") -> str:
    """Return the text of the page, without its tags."""
    response = who.get(page(account, rest))
    assert response.status_code == 200, response.content
    return text_of(response)


def balance(account: Account) -> int:
    account.refresh_from_db()
    return account.balance_micros


def test_every_member_sees_balance_and_ledger_in_plain_words(account: Account, viewer: Client) -> None:
    made = factories.generation_in(Status.COMPLETED, account)
    factories.submit(account)
    ledger.refund(account_id=account.pk, amount_micros=1_000_000, actor="ada", reason="a secret of staff")
    text = shown(viewer, account)
    assert "Available 8.9466 USD Balance 8.9733 USD Reserved 0.0267 USD" in text
    assert "Total spent 0.0267 USD Total pictures 1" in text
    assert f"Picture charged \N{MINUS SIGN}0.0267 USD 9.9733 USD 0.0000 USD {made.pk} 3" in text
    assert "Refund to you \N{MINUS SIGN}1.0000 USD" in text
    assert "Credit +10.0000 USD" in text
    assert "secret" not in text
    assert "An owner of the account adds credit" in text


def test_codes_cards_and_debts_are_named_in_the_ledger(account: Account, viewer: Client) -> None:
    codes.redeem(account_id=account.pk, text=factories.redemption_code())
    ledger.top_up(account_id=account.pk, amount_micros=10**6, actor=card_top_ups.ACTOR, reason="x")
    text = shown(viewer, account)
    assert "Redemption code +25.0000 USD" in text
    assert "Card payment +1.0000 USD" in text


def test_the_ledger_has_pages_and_kinds(account: Account, viewer: Client) -> None:
    for _ in range(30):
        ledger.top_up(account_id=account.pk, amount_micros=100, actor="ada", reason="x")
    factories.generation_in(Status.COMPLETED, account)
    first = viewer.get(page(account)).content.decode()
    [older] = re.findall(r'href="(\?before=\d+)#ledger"', first)
    assert first.count("+0.0001 USD") == 23
    second = viewer.get(page(account, older)).content.decode()
    assert second.count("+0.0001 USD") == 7
    assert "?before=" not in second
    text = shown(viewer, account, "?kind=settle")
    assert "Picture charged" in text
    assert "+0.0001 USD" not in text


@pytest.mark.parametrize(
    "query", ["?before=x", "?before=-1", "?before=9999999999999999999", "?before=0", "?kind=x"]
)
def test_an_address_that_names_no_page_shows_the_first_one(
    account: Account, viewer: Client, query: str
) -> None:
    assert "Credit +10.0000 USD" in shown(viewer, account, query)


def test_strangers_get_nothing(account: Account) -> None:
    stranger = signed_in(member(factories.account()))
    for rest in ("", "/redeem", "/top-up", "/alerts"):
        assert stranger.get(page(account, rest)).status_code == 404
        assert send(stranger, page(account, rest)).status_code in {404, 405}


def test_others_than_owners_cannot_act(account: Account, viewer: Client, stripe: StripeStub) -> None:
    maker = signed_in(member(account, Role.MEMBER))
    text = factories.redemption_code()
    for who in (viewer, maker):
        assert "<form" not in who.get(page(account)).content.decode().partition("<main")[2]
        for rest, fields in (("redeem", {"code": text}), ("top-up", {"amount": "25"}), ("alerts", {})):
            assert send(who, page(account, f"/{rest}"), **fields).status_code == 403
    assert balance(account) == 10_000_000
    assert not stripe.calls


def test_a_code_is_credited_once_and_the_page_says_so(account: Account, owner: Client) -> None:
    text = factories.redemption_code()
    response = send(owner, page(account, "/redeem"), code=text.lower())
    assert (response.status_code, response["Location"]) == (302, page(account, "#main"))
    assert "25.0000 USD were added." in shown(owner, account)
    send(owner, page(account, "/redeem"), code=text)
    assert "This account has redeemed the code before." in shown(owner, account)
    assert balance(account) == 35_000_000


def test_a_wrong_code_comes_back_as_it_was_typed(account: Account, owner: Client) -> None:
    response = send(owner, page(account, "/redeem"), code="ABCDE 12345")
    content = response.content.decode()
    assert response.status_code == 200
    assert 'value="ABCDE 12345"' in content
    assert "This code is unknown or no longer valid." in content
    assert 'aria-invalid="true"' in content


def test_guessing_in_the_console_and_by_the_api_counts_together(
    account: Account, owner: Client, settings: Settings
) -> None:
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 2
    good = factories.redemption_code()
    for _ in range(2):
        send(owner, page(account, "/redeem"), code=UNKNOWN)
    response = send(owner, page(account, "/redeem"), code=good)
    assert re.search(
        r"Too many codes were refused within the last hour. Try again in \d+ minutes.", text_of(response)
    )
    assert balance(account) == 10_000_000


def test_a_form_without_its_token_moves_no_money(account: Account, owner: Client) -> None:
    response = owner.post(page(account, "/redeem"), {"code": factories.redemption_code()})
    assert response.status_code == 403
    assert balance(account) == 10_000_000


def test_a_suspended_account_looks_and_pays_nothing_in(account: Account, owner: Client) -> None:
    Account.objects.filter(pk=account.pk).update(status=Account.Status.SUSPENDED)
    assert "Nothing can be paid in while the account is suspended." in shown(owner, account)
    assert send(owner, page(account, "/redeem"), code=factories.redemption_code()).status_code == 403
    assert balance(account) == 10_000_000


def test_alerts_are_saved_and_shown_again(account: Account, owner: Client, settings: Settings) -> None:
    settings.SENDS_MAIL = True
    fields = {"low_balance": "12.5", "percents": "80, 50 % 100", "email": "ada@example.com"}
    assert send(owner, page(account, "/alerts"), **fields)["Location"] == page(account, "#main")
    own = alerts.settings_of(account_id=account.pk)
    assert (own.low_balance_micros, own.key_percents, own.email) == (
        12_500_000,
        [50, 80, 100],
        "ada@example.com",
    )
    content = owner.get(page(account)).content.decode()
    assert "The alerts are saved." in content
    assert 'value="12.5000"' in content
    assert 'value="50, 80, 100"' in content
    assert "The balance is below 12.5000 USD" in content


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("low_balance", "0", "Enter an amount of US dollars over zero"),
        ("percents", "50, 101", "Enter at most 10 whole numbers from 1 to 100"),
        ("percents", "0", "Enter at most 10 whole numbers from 1 to 100"),
        ("percents", "half", "Enter at most 10 whole numbers from 1 to 100"),
        ("percents", "1 2 3 4 5 6 7 8 9 10 11", "Enter at most 10 whole numbers from 1 to 100"),
        ("email", "ada", "Enter a valid email address."),
    ],
)
def test_wrong_alerts_come_back_and_change_nothing(
    account: Account, owner: Client, settings: Settings, name: str, value: str, message: str
) -> None:
    settings.SENDS_MAIL = True
    alerts.put(account_id=account.pk, low_balance_micros=1_000_000, percents=[50], email="")
    response = send(owner, page(account, "/alerts"), **{"low_balance": "7", name: value})
    content = response.content.decode()
    assert message in content
    assert f'value="{value}"' in content
    assert alerts.settings_of(account_id=account.pk).low_balance_micros == 1_000_000


def test_a_service_without_mail_keeps_the_address_and_says_why(account: Account, owner: Client) -> None:
    alerts.put(account_id=account.pk, low_balance_micros=None, percents=[], email="ada@example.com")
    assert "This service sends no email." in shown(owner, account)
    send(owner, page(account, "/alerts"), low_balance="7", email="eve@example.com")
    own = alerts.settings_of(account_id=account.pk)
    assert (own.low_balance_micros, own.email) == (7_000_000, "ada@example.com")


def test_a_form_that_was_not_sent_leads_to_the_page(account: Account, owner: Client) -> None:
    for rest in ("/redeem", "/top-up", "/alerts"):
        assert owner.get(page(account, rest))["Location"] == page(account, "#main")


def test_errors_for_programs_stay_the_envelope(account: Account) -> None:
    reply = Client().get(f"/console/{account.pk}/api/statements/2026-01")
    assert refusal(reply) == (401, "unauthorized")
