"""Sign-up: closed unless the operator opens it, and then with an account that begins empty."""

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client
from pytest_django import Settings

from billing import ledger, memberships
from billing.models import Account
from tests.assertions import refusal
from tests.browsers import sign_in
from tests.zekron_api.people.conftest import PASSWORD
from tests.zekron_api.people.pages import is_signed_in, links_in, log_in
from zekron_api.people import sign_up

pytestmark = pytest.mark.django_db
PATH = "/me/signup/"
EVE = {"email": "eve@example.com", "password1": PASSWORD}


@pytest.fixture
def is_open(settings: Settings) -> None:
    """Let strangers sign up."""
    settings.SIGNUP = "open"


def accounts_of(name: str) -> list[tuple[str, str, int]]:
    user = User.objects.get(username=name)
    found = memberships.list_of_user(user_id=user.pk)
    return [(each.account.name, each.role, each.account.balance_micros) for each in found]


def test_sign_up_is_closed_by_default() -> None:
    assert "Sign-up is closed" in Client().get(PATH).content.decode()
    Client().post(PATH, EVE)
    assert not User.objects.exists()
    assert PATH not in Client().get("/me/login/").content.decode()


def test_an_address_that_would_be_cut_off_is_refused(is_open: None, mail: None, bob: User) -> None:
    long = f"{'e' * 250}@example.com"
    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    for browser, path in ((Client(), PATH), (sign_in(Client(), bob), "/me/email/")):
        reply = browser.post(path, EVE | {"email": long, "action_add": ""})
        assert "at most 254 characters" in reply.content.decode()
    assert EmailAddress.objects.count() == 1


def test_without_mail_somebody_new_owns_an_empty_account_at_once(is_open: None) -> None:
    browser = Client()
    assert PATH in browser.get("/me/login/").content.decode()
    browser.post(PATH, EVE)
    assert is_signed_in(browser)
    assert accounts_of("eve") == [("eve@example.com", "owner", 0)]
    assert outbox.outbox == []


def test_with_mail_the_account_opens_when_the_address_is_confirmed(is_open: None, mail: None) -> None:
    browser = Client()
    browser.post(PATH, EVE)
    assert not is_signed_in(browser)
    assert not Account.objects.exists()
    [sent] = outbox.outbox
    [path] = links_in(str(sent.body))[:1]
    assert log_in("eve@example.com").headers["Location"] == "/me/confirm-email/"
    assert "<form" in browser.get(path).content.decode()
    assert not Account.objects.exists()
    browser.post(path)
    assert accounts_of("eve") == [("eve@example.com", "owner", 0)]
    assert log_in("eve@example.com").headers["Location"] == "/console/"


def test_a_sign_up_does_not_tell_which_addresses_are_known(is_open: None, mail: None, bob: User) -> None:
    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    replies = [
        Client().post(PATH, EVE | {"email": email}) for email in ("bob@example.com", "eve@example.com")
    ]
    assert {(reply.status_code, reply.headers["Location"]) for reply in replies} == {
        (302, "/me/confirm-email/")
    }


def test_staff_and_members_are_not_asked_to_confirm_an_address(mail: None, ada: User) -> None:
    assert log_in("ada").headers["Location"] == "/console/"
    assert outbox.outbox == []


def test_a_name_that_an_account_has_gets_a_number(is_open: None, bob: User) -> None:
    ledger.open_account(name=bob.email, opening_micros=0, actor="test")
    sign_up.open_account(user=bob)
    sign_up.open_account(user=bob)
    assert accounts_of("bob") == [(f"bob@example.com {bob.pk}", "owner", 0)]


@pytest.mark.parametrize("email", ["1@example.com", "x" * 64 + "@" + "y" * 60 + ".example.com", ""])
def test_any_address_gives_an_account_a_name(is_open: None, bob: User, email: str) -> None:
    bob.email = email
    bob.save()
    sign_up.open_account(user=bob)
    [(name, _, _)] = accounts_of("bob")
    assert 0 < len(name) <= 100


def test_a_further_address_opens_no_account_for_staff_or_while_sign_up_is_closed(
    ada: User, bob: User
) -> None:
    for user in (ada, bob):
        address = EmailAddress.objects.create(user=user, email=f"second-{user.email}")
        sign_up.on_email_confirmed(email_address=address)
    assert not Account.objects.exists()


def test_without_the_mail_server_the_page_says_so_and_what_was_done_stays_done(
    mail: None, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError

    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    reply = Client().post("/me/password/reset/", {"email": bob.email})
    assert refusal(reply) == (503, "service_unavailable")
    form = {
        "oldpassword": PASSWORD,
        "password1": "another horse battery",
        "password2": "another horse battery",
    }
    assert sign_in(Client(), bob).post("/me/password/change/", form).headers["Location"] == "/me/"
    assert log_in("bob", "another horse battery").headers["Location"] == "/console/"
