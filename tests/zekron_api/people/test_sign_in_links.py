"""Links that sign one person in: once, within an hour, by a button, and never past a second factor."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.http import int_to_base36
from pytest_django import Settings

from billing import memberships
from tests import factories
from tests.assertions import refusal
from tests.browsers import sign_in
from tests.zekron_api.people.pages import CODE, code_of, is_signed_in, links_in, log_in, with_app
from zekron_api.people import sign_in_links

pytestmark = pytest.mark.django_db


def path_to(user: User, **more: Any) -> str:
    [path] = links_in(sign_in_links.make(user=user, **more))
    return path


def test_a_link_signs_in_once(bob: User) -> None:
    path, browser = path_to(bob), Client()
    assert browser.post(path).headers["Location"] == "/console/"
    assert is_signed_in(browser)
    assert refusal(Client().post(path)) == (404, "not_found")


def test_a_program_that_opens_a_link_does_not_use_it_up(bob: User) -> None:
    path, browser = path_to(bob), Client()
    for _ in range(2):
        assert Client().get(path).status_code == 200
    assert Client().head(path).status_code == 200
    browser.post(path)
    assert is_signed_in(browser)


@pytest.mark.django_db(transaction=True)
def test_of_many_clicks_at_once_one_signs_in(bob: User) -> None:
    path = path_to(bob)
    statuses = factories.at_once(6, lambda _: Client().post(path).status_code)
    assert sorted(map(int, statuses)) == [302] + [404] * 5


def test_a_login_and_another_password_use_a_link_up(bob: User) -> None:
    path = path_to(bob)
    log_in("bob")
    assert Client().get(path).status_code == 404
    path = path_to(bob)
    bob.set_password("another horse battery")
    bob.save()
    assert Client().get(path).status_code == 404


def test_a_link_lives_an_hour(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = path_to(bob), sign_in_links._tokens._now()
    monkeypatch.setattr(sign_in_links._tokens, "_now", lambda: now + timedelta(minutes=59))
    assert Client().get(path).status_code == 200
    monkeypatch.setattr(sign_in_links._tokens, "_now", lambda: now + timedelta(minutes=61))
    assert Client().get(path).status_code == 404


@pytest.mark.parametrize("token", ["x", "1-x", "-", "zzzzzz-x", "9" * 13 + "-x", "%00-x", "1-" + "a" * 5000])
def test_a_made_up_link_is_not_found(bob: User, token: str) -> None:
    assert Client().get(f"/sign-in/{token}").status_code == 404


def test_the_link_of_one_person_is_none_of_another(ada: User, bob: User) -> None:
    prefix = f"/sign-in/{int_to_base36(bob.pk)}-"
    assert path_to(bob).startswith(prefix)
    assert Client().get(path_to(bob).replace(prefix, f"/sign-in/{int_to_base36(ada.pk)}-")).status_code == 404


def test_somebody_who_was_deactivated_is_not_let_in(bob: User) -> None:
    path = path_to(bob)
    User.objects.update(is_active=False)
    assert Client().post(path).status_code == 404


def test_a_second_factor_is_still_asked_for(bob: User) -> None:
    secret, browser = with_app(bob), Client()
    path = path_to(bob)
    assert browser.post(path).headers["Location"] == CODE
    assert not is_signed_in(browser)
    browser.post(CODE, {"code": code_of(secret)})
    assert is_signed_in(browser)
    assert Client().get(path).status_code == 404


def test_a_link_leads_to_its_page_and_to_no_other_site(bob: User) -> None:
    account = factories.account()
    memberships.add(user_id=bob.pk, account_id=account.pk, role="owner")
    page = f"/console/{account.pk}/"
    assert Client().post(path_to(bob, next_path=page)).headers["Location"] == page
    bob.refresh_from_db()
    assert Client().post(path_to(bob, next_path="https://evil.example/")).headers["Location"] == "/console/"


def test_a_link_takes_the_browser_from_whoever_was_signed_in(ada: User, bob: User) -> None:
    browser = sign_in(Client(), ada)
    assert "You are signed in as ada" in browser.get(path_to(bob)).content.decode()
    browser.post(path_to(bob))
    assert browser.get("/me/").context["user"] == bob


def test_a_link_has_the_public_address(bob: User, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://api.example.com"
    assert sign_in_links.make(user=bob).startswith("https://api.example.com/sign-in/")


def test_the_button_needs_its_token(bob: User) -> None:
    assert Client(enforce_csrf_checks=True).post(path_to(bob)).status_code == 403


@pytest.mark.parametrize("name", ["bob", "BOB", "bob@example.com"])
def test_the_command_prints_a_link_alone(bob: User, capsys: pytest.CaptureFixture[str], name: str) -> None:
    call_command("sign_in_link", name, next="/me/")
    line = capsys.readouterr().out
    [path] = links_in(line)
    assert line == f"http://localhost:8000{path}\n"
    assert Client().post(path).headers["Location"] == "/me/"


def test_the_command_says_whom_it_makes_no_link_for(bob: User) -> None:
    User.objects.create_user("rob", email=bob.email)
    User.objects.create_user("eve", is_active=False)
    for name, message in (
        ("eve", "is not active"),
        ("nobody", "Nobody has"),
        (bob.email, "Several people have"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("sign_in_link", name)
