"""The limits of every way to prove who one is: passwords, codes and keys, also beside the login itself."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from tests.assertions import refusal
from tests.browsers import sign_in
from tests.zekron_api.people.conftest import PASSWORD
from tests.zekron_api.people.pages import (
    ADDRESS,
    CODE,
    code_of,
    is_signed_in,
    links_in,
    log_in,
    recovery_codes_of,
    with_app,
)
from zekron_api.people import sign_in_links

pytestmark = pytest.mark.django_db
REAUTHENTICATE = "/me/reauthenticate/"
WRONG = "wrong"


@pytest.fixture
def patient(settings: Settings) -> None:
    """Let the limits of logins in a minute not matter."""
    settings.LOGINS_PER_MINUTE_OF_ADDRESS = settings.LOGINS_PER_MINUTE_OF_NAME = 1000
    settings.LOGINS_PER_MINUTE = 1000


def pending(user: User) -> Client:
    """Return a browser that has given the password, and owes a code."""
    browser = Client()
    assert log_in(user.username, browser=browser).headers["Location"] == CODE
    return browser


def test_failures_lock_out_whoever_has_a_session_too(patient: None, ada: User) -> None:
    browser = sign_in(Client(), ada)
    statuses = [browser.post(REAUTHENTICATE, {"password": WRONG}).status_code for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert refusal(browser.post(REAUTHENTICATE, {"password": PASSWORD})) == (429, "too_many_logins")


def test_a_lockout_counts_a_name_however_it_is_spelled(patient: None, ada: User) -> None:
    for name in ("ada", "ADA", "Ada", "\uff41\uff44\uff41", " ada "):
        log_in(name, WRONG)
    assert refusal(log_in("ada")) == (429, "too_many_logins")


def test_an_address_and_a_name_sign_the_same_person_in(ada: User) -> None:
    for name in ("ada", "ADA", "ada@example.com", "Ada@Example.com"):
        assert log_in(name).headers["Location"] == "/console/"


@pytest.mark.parametrize("name", ["ada", "ada@example.com", "nobody", "nobody@example.com"])
def test_a_try_costs_one_hash_whether_the_name_is_known_or_not(
    ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hashes: list[str] = []

    class Hasher(PBKDF2PasswordHasher):
        algorithm = "counted"
        iterations = 1

        def encode(self, password: str, salt: str, iterations: int | None = None) -> Any:
            hashes.append(password)
            return super().encode(password, salt, iterations)

    monkeypatch.setattr("django.contrib.auth.hashers.get_hasher", lambda *_: Hasher())
    monkeypatch.setattr("django.contrib.auth.hashers.identify_hasher", lambda *_: Hasher())
    ada.set_password(PASSWORD)
    ada.save()
    hashes.clear()
    assert log_in(name, WRONG).status_code == 200
    assert hashes == [WRONG]


def test_a_key_of_the_api_is_no_password(ada: User) -> None:
    reply = Client().post("/me/login/", {}, headers={"Authorization": "Bearer zk_live_x"})
    assert reply.status_code == 200
    assert "sessionid" not in reply.cookies


def test_the_operator_lifts_lockouts_and_a_link_needs_no_lift(patient: None, bob: User) -> None:
    for _ in range(5):
        log_in("bob", WRONG)
    [path] = links_in(sign_in_links.make(user=bob))
    assert Client().post(path, REMOTE_ADDR=ADDRESS).status_code == 302
    assert log_in("bob").status_code == 429
    call_command("lift_lockouts")
    assert log_in("bob").status_code == 302


def test_wrong_codes_end_before_they_can_be_guessed(patient: None, ada: User) -> None:
    secret = with_app(ada)
    for _ in range(5):
        assert pending(ada).post(CODE, {"code": "000000"}).status_code == 200
    browser = pending(ada)
    assert "Too many wrong tries" in browser.post(CODE, {"code": code_of(secret)}).content.decode()
    assert not is_signed_in(browser)


def test_codes_count_as_logins(ada: User, settings: Settings) -> None:
    with_app(ada)
    browser = pending(ada)
    settings.LOGINS_PER_MINUTE_OF_NAME = 3
    statuses = [
        browser.post(CODE, {"code": "000000"}, REMOTE_ADDR=f"192.0.2.{number}").status_code
        for number in range(10, 14)
    ]
    assert statuses == [200, 200, 200, 429]


def test_a_code_of_an_app_and_one_for_recovery_work_once(ada: User) -> None:
    secret = with_app(ada)
    for code in (code_of(secret), recovery_codes_of(ada)[0]):
        first, second = pending(ada), pending(ada)
        first.post(CODE, {"code": code})
        second.post(CODE, {"code": code})
        assert (is_signed_in(first), is_signed_in(second)) == (True, False)


def test_a_mailed_code_signs_in_and_ends_after_three_wrong_ones(mail: None, patient: None, bob: User) -> None:
    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    browser = Client()
    for is_right in (False, True):
        browser.post("/me/login/code/", {"email": bob.email})
        code = re.search(r"^[A-Z0-9-]{6,}$", str(outbox.outbox[-1].body), re.M)
        assert code is not None
        for _ in range(0 if is_right else 3):
            browser.post("/me/login/code/confirm/", {"code": "wrong1"})
        browser.post("/me/login/code/confirm/", {"code": code[0]})
        assert is_signed_in(browser) == is_right


def test_mailed_codes_are_few(mail: None, patient: None, bob: User) -> None:
    for _ in range(6):
        Client().post("/me/login/code/", {"email": bob.email})
    assert len(outbox.outbox) == 3


def test_without_mail_no_page_promises_any(bob: User) -> None:
    assert Client().get("/me/login/code/").status_code == 404
    assert "operator" in Client().get("/me/password/reset/").content.decode()
    assert Client().post("/me/password/reset/", {"email": bob.email}).status_code == 405
    page = sign_in(Client(), bob).get("/me/email/").content.decode()
    assert "bob@example.com" in page
    assert '<input type="email"' not in page
    assert "code" not in Client().get("/me/login/").content.decode().lower().replace("barcode", "")
    assert outbox.outbox == []


def test_a_limit_of_the_library_is_told_in_the_envelope(mail: None, patient: None, bob: User) -> None:
    replies = [Client().post("/me/password/reset/", {"email": bob.email}) for _ in range(11)]
    assert refusal(replies[-1]) == (429, "too_many_logins")
    assert replies[-1]["Retry-After"] == "60"


def test_a_client_without_an_address_may_sign_in(bob: User) -> None:
    data = {"login": "bob", "password": PASSWORD}
    browser = Client(REMOTE_ADDR="")
    assert browser.post("/me/login/", data).status_code == 302
    assert browser.get("/me/sessions/").status_code == 200
