"""The log of staff: their sign-ins, failures, passwords and second factors, and nothing about customers."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from tests.browsers import sign_in
from tests.zekron_api.people.conftest import PASSWORD
from tests.zekron_api.people.pages import ADDRESS, CODE, code_of, log_in, with_app

pytestmark = pytest.mark.django_db


def said() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def test_a_login_and_its_end_are_entries(ada: User) -> None:
    browser = Client()
    log_in("ada", browser=browser)
    browser.post("/me/logout/")
    assert said() == [f"Signed in, from {ADDRESS}.", "Signed out, from 127.0.0.1."]
    entry = LogEntry.objects.first()
    assert (entry.user, entry.object_id, entry.object_repr) == (ada, str(ada.pk), "ada")


@pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.com"])
def test_a_failed_login_is_an_entry_without_its_password(ada: User, name: str) -> None:
    log_in(name, "my other password")
    assert said() == [f"Sign-in refused, because its password was wrong, from {ADDRESS}."]


def test_an_unknown_name_is_no_entry(ada: User) -> None:
    log_in("nobody", "wrong")
    assert said() == []


@pytest.mark.django_db(transaction=True)
def test_a_second_factor_that_comes_fails_and_goes_is_an_entry(ada: User) -> None:
    browser = sign_in(Client(), ada)
    secret = browser.get("/me/2fa/totp/activate/").context["form"].secret
    browser.post("/me/2fa/totp/activate/", {"code": code_of(secret)})
    other = Client()
    log_in("ada", browser=other)
    other.post(CODE, {"code": "000000"})
    browser.post("/me/2fa/totp/deactivate/")
    assert [line.partition(", from")[0] for line in said()] == [
        "Second factor added: TOTP Authenticator",
        "Second factor added: Recovery codes",
        "Second factor was wrong",
        "Second factor removed: TOTP Authenticator",
        "Second factor removed: Recovery codes",
    ]


def test_another_password_is_an_entry(ada: User) -> None:
    form = {
        "oldpassword": PASSWORD,
        "password1": "another horse battery",
        "password2": "another horse battery",
    }
    sign_in(Client(), ada).post("/me/password/change/", form)
    assert said() == ["Password changed, from 127.0.0.1."]


def test_customers_have_no_entries(bob: User) -> None:
    with_app(bob)
    log_in("bob", "wrong")
    browser = Client()
    log_in("bob", browser=browser)
    browser.post(CODE, {"code": "000000"})
    assert said() == []
