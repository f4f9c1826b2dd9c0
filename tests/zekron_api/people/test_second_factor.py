"""Second factors: staff need one, their secrets are sealed, and somebody who lost them gets a way back."""

from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from storage import rotation
from storage.models import SealedSecret
from tests.assertions import refusal
from tests.browsers import sign_in
from tests.zekron_api.people.pages import CODE, code_of, is_signed_in, log_in, recovery_codes_of, with_app

pytestmark = pytest.mark.django_db
NEW_MASTER_KEY = b"n" * 32


@pytest.fixture
def required(settings: Settings) -> None:
    """Require a second factor of staff, as behind HTTPS."""
    settings.STAFF_MFA = True


def test_staff_without_a_second_factor_set_one_up_before_they_see_anything(required: None, ada: User) -> None:
    browser = sign_in(Client(), ada)
    for path in ("/admin/", "/admin/billing/account/", "/admin/auth/user/"):
        reply = browser.get(path)
        assert (reply.status_code, reply.content) == (302, b"")
    reply = browser.get("/admin/", follow=True)
    assert [path for path, _ in reply.redirect_chain] == ["/admin/login/?next=/admin/", "/me/2fa/"]
    assert "Staff need a second factor" in reply.content.decode()


def test_staff_with_a_second_factor_enter(required: None, ada: User) -> None:
    with_app(ada)
    assert sign_in(Client(), ada).get("/admin/").status_code == 200


def test_recovery_codes_alone_are_no_second_factor(required: None, ada: User) -> None:
    with_app(ada)
    Authenticator.objects.filter(type=Authenticator.Type.TOTP).delete()
    assert sign_in(Client(), ada).get("/admin/").status_code == 302


def test_staff_without_a_second_factor_enter_where_none_is_required(ada: User) -> None:
    assert sign_in(Client(), ada).get("/admin/").status_code == 200


def test_the_admin_has_the_sign_in_of_all_people_and_comes_back(ada: User) -> None:
    wanted = "/admin/billing/account/?status__exact=active"
    first = Client().get(wanted)
    second = Client().get(first.headers["Location"])
    assert second.headers["Location"] == f"/me/login/?next={quote(wanted, safe='')}"
    browser = Client()
    reply = browser.post(
        second.headers["Location"], {"login": "ada", "password": "correct horse battery staple"}
    )
    assert reply.headers["Location"] == wanted
    assert browser.get("/admin/login/?next=https://evil.example/").headers["Location"] == "/admin/"


def test_customers_do_not_enter_the_admin(bob: User) -> None:
    browser = sign_in(Client(), bob)
    assert refusal(browser.get("/admin/", follow=True)) == (403, "access_denied")


def test_staff_change_their_password_on_the_page_of_all_people(ada: User) -> None:
    assert sign_in(Client(), ada).get("/admin/password_change/").headers["Location"] == "/me/password/change/"


def test_a_second_factor_is_set_up_and_asked_for(ada: User) -> None:
    browser = sign_in(Client(), ada)
    page = browser.get("/me/2fa/totp/activate/")
    assert "img-src 'self' data:" in page["Content-Security-Policy"]
    assert "data:" not in browser.get("/me/2fa/")["Content-Security-Policy"]
    browser.post("/me/2fa/totp/activate/", {"code": code_of(page.context["form"].secret)})
    assert Authenticator.objects.filter(user=ada, type=Authenticator.Type.TOTP).exists()
    assert log_in("ada").headers["Location"] == CODE
    other = Client()
    log_in("ada", browser=other)
    other.post(CODE, {"code": recovery_codes_of(ada)[0]})
    assert is_signed_in(other)


def test_a_second_factor_is_changed_only_by_somebody_who_signed_in_lately(ada: User) -> None:
    with_app(ada)
    browser = sign_in(Client(), ada, age_seconds=16 * 60)
    for path in ("totp/deactivate/", "recovery-codes/", "recovery-codes/generate/", "webauthn/add/"):
        assert browser.get(f"/me/2fa/{path}").headers["Location"].startswith("/me/reauthenticate/"), path
    browser = sign_in(Client(), ada, age_seconds=14 * 60)
    assert browser.get("/me/2fa/recovery-codes/").status_code == 200


def test_somebody_with_nothing_to_prove_it_by_signs_in_again(bob: User) -> None:
    bob.set_unusable_password()
    bob.save()
    browser = sign_in(Client(), bob, age_seconds=16 * 60)
    reply = browser.get("/me/2fa/totp/activate/", follow=True)
    assert "sign in again" in reply.content.decode()
    assert browser.get("/me/password/set/").headers["Location"].startswith("/me/reauthenticate/")
    fresh = sign_in(Client(), bob)
    assert fresh.get("/me/2fa/totp/activate/").status_code == 200
    assert fresh.get("/me/password/set/").status_code == 200


def test_a_new_password_is_not_kept_while_a_proof_is_asked_for(bob: User) -> None:
    bob.set_unusable_password()
    bob.save()
    browser = sign_in(Client(), bob, age_seconds=16 * 60)
    browser.post(
        "/me/password/set/", {"password1": "a-new-secret-phrase", "password2": "a-new-secret-phrase"}
    )
    assert "a-new-secret-phrase" not in str(dict(browser.session))
    bob.refresh_from_db()
    assert not bob.has_usable_password()


def test_the_database_alone_shows_no_secret(ada: User) -> None:
    secret = with_app(ada)
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in kept
    assert SealedSecret.objects.count() == 2


def test_codes_work_after_the_master_key_was_rotated(ada: User, settings: Settings) -> None:
    secret = with_app(ada)
    settings.MASTER_KEYS = {"new": NEW_MASTER_KEY, **settings.MASTER_KEYS}
    rotation.rotate()
    settings.MASTER_KEYS = {"new": NEW_MASTER_KEY}
    browser = Client()
    log_in("ada", browser=browser)
    browser.post(CODE, {"code": code_of(secret)})
    assert is_signed_in(browser)


def test_somebody_who_lost_all_gets_in_after_a_reset(ada: User, capsys: pytest.CaptureFixture[str]) -> None:
    with_app(ada)
    call_command("reset_second_factor", "ada@example.com")
    assert capsys.readouterr().out == "ada: removed 2.\n"
    assert not SealedSecret.objects.exists()
    assert log_in("ada").headers["Location"] == "/console/"
    first = LogEntry.objects.order_by("pk").first()
    assert first is not None
    assert first.get_change_message().startswith(
        "Second factors removed by manage.py reset_second_factor by "
    )


@pytest.mark.parametrize("name", ["nobody", "nobody@example.com"])
def test_a_reset_names_who_is_unknown(name: str) -> None:
    with pytest.raises(CommandError, match=f"Nobody has the user name or e-mail address '{name}'"):
        call_command("reset_second_factor", name)


@pytest.mark.parametrize(
    "credential", ["[]", '{"id": 1}', "9" * 5000, '{"id": "a", "rawId": "a", "response": {}}']
)
def test_what_no_passkey_makes_is_a_wrong_answer(ada: User, bob: User, credential: str) -> None:
    with_app(ada)
    pending, signed_in = Client(), Client()
    log_in("ada", browser=pending)
    log_in("bob", browser=signed_in)
    for browser, path in (
        (Client(), "webauthn/login/"),
        (pending, "authenticate/"),
        (signed_in, "webauthn/add/"),
        (signed_in, "webauthn/reauthenticate/"),
    ):
        assert browser.post(f"/me/2fa/{path}", {"credential": credential}).status_code in {200, 302}, path
    assert not is_signed_in(pending)
