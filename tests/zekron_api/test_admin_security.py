"""The staff's pages under attack: guessed passwords, stolen cookies, smuggled scripts, impatient fingers."""

import base64
import pickle
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from pytest_django import Settings

from billing import keys, ledger
from billing.admin.key_forms import KeyForm
from billing.models import Account, ApiKey, LedgerEntry
from tests import factories
from tests.assertions import refusal
from tests.billing.admin_client import ACCOUNTS, movement
from tests.browsers import sign_in
from tests.content_policy import content_policy

pytestmark = pytest.mark.django_db(transaction=True)
LOGIN = "/me/login/?next=/admin/"
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def fast_passwords(settings: Settings) -> None:
    """Slow hashes are for production."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    """Create a superuser with a password."""
    return User.objects.create_superuser("ada", password=PASSWORD)


@pytest.fixture
def account() -> Account:
    """Open an account with 10 dollars."""
    return factories.account()


@pytest.fixture
def staff(ada: User) -> Client:
    """Ada's browser."""
    return sign_in(Client(), ada)


def login(
    password: str, *, name: str = "ada", address: str = "192.0.2.1", browser: Client | None = None
) -> Any:
    data = {"login": name, "password": password}
    return (browser or Client()).post(LOGIN, data, REMOTE_ADDR=address)


def fail(times: int, **who: Any) -> None:
    for _ in range(times):
        login("wrong", **who)


def let_pass(period: timedelta) -> None:
    """Let the entries of the cache grow older."""
    with connection.cursor() as cursor:
        seconds = period.total_seconds()
        cursor.execute("UPDATE zekron_cache SET expires = expires - %s * interval '1 second'", [seconds])


def cached() -> list[tuple[str, Any]]:
    """Return the names and values in the cache."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key, value FROM zekron_cache")
        return [(key, pickle.loads(base64.b64decode(value))) for key, value in cursor.fetchall()]  # noqa: S301 (ours)


# ── Lockout ─────────────────────────────────────────────────────────────────────────────────────


def test_after_five_failures_even_the_right_password_is_refused(ada: User) -> None:
    fail(4)
    assert login("wrong").status_code == 429
    response = login(PASSWORD)
    assert refusal(response) == (429, "too_many_logins")
    assert response["Retry-After"] == "900"
    assert "sessionid" not in response.cookies


def test_a_lockout_ends_and_trying_meanwhile_does_not_prolong_it(ada: User) -> None:
    fail(5)
    let_pass(timedelta(minutes=14))
    fail(2)
    assert login(PASSWORD).status_code == 429
    let_pass(timedelta(minutes=1))
    assert login(PASSWORD).status_code == 302


def test_a_lockout_holds_for_that_name_from_that_address_alone(ada: User) -> None:
    User.objects.create_superuser("bob", password=PASSWORD)
    fail(5)
    assert login(PASSWORD, address="192.0.2.2").status_code == 302
    assert login(PASSWORD, name="bob").status_code == 302
    assert login(PASSWORD).status_code == 429


def test_a_header_that_a_client_sends_does_not_change_its_address(ada: User) -> None:
    fail(5)
    data = {"login": "ada", "password": PASSWORD}
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Client-Ip"):
        sent = {header: "198.51.100.7"}
        assert Client().post(LOGIN, data, REMOTE_ADDR="192.0.2.1", headers=sent).status_code == 429


def test_four_failures_are_forgotten_by_a_login(ada: User) -> None:
    fail(4)
    assert login(PASSWORD).status_code == 302
    fail(4)
    assert login(PASSWORD).status_code == 302


def test_what_is_kept_of_a_failure_has_no_password(ada: User) -> None:
    login("my other password")
    [kept] = cached()
    assert not re.search("my other password|ada", str(kept))


def test_a_lockout_of_staff_is_none_of_the_api(ada: User) -> None:
    fail(5)
    assert Client().get("/healthz", REMOTE_ADDR="192.0.2.1").status_code == 200
    assert refusal(Client().get("/v1/balance", REMOTE_ADDR="192.0.2.1")) == (401, "unauthorized")


# ── Cookies, frames and scripts ─────────────────────────────────────────────────────────────────


def test_cookies_are_for_this_site_and_this_server_alone_and_end_soon(ada: User, settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    browser = Client()
    form = browser.get(LOGIN)
    logged_in = login(PASSWORD, browser=browser)
    for cookie in (form.cookies["csrftoken"], logged_in.cookies["sessionid"]):
        assert (cookie["samesite"], cookie["httponly"], cookie["secure"]) == ("Lax", True, True)
    assert logged_in.cookies["sessionid"]["max-age"] == ""
    assert browser.session.get_expire_at_browser_close()
    assert settings.SESSION_COOKIE_AGE <= 4 * 3600


def test_a_session_is_no_key_and_a_key_is_no_session(staff: Client, account: Account) -> None:
    assert refusal(staff.get("/v1/balance")) == (401, "unauthorized")
    _, key = keys.issue(account_id=account.pk)
    response = Client().get("/admin/", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 302


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", ACCOUNTS, f"{ACCOUNTS}add/", "/admin/nothing/"])
def test_every_page_of_staff_forbids_foreign_and_inline_scripts_and_frames(staff: Client, path: Any) -> None:
    response = staff.get(path)
    assert content_policy(response) == {
        "default-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_name_that_is_a_script_is_shown_as_text(staff: Client) -> None:
    name = "<script>alert(1)</script>"
    account = ledger.open_account(name=name, opening_micros=0, actor="test")
    for path in (ACCOUNTS, f"{ACCOUNTS}{account.pk}/change/", f"{ACCOUNTS}{account.pk}/top-up/"):
        assert name not in staff.get(path).content.decode()


# ── Money ───────────────────────────────────────────────────────────────────────────────────────


def shown_id(staff: Client, address: str) -> str:
    """Return the id that the form carries."""
    return staff.get(address).context["form"]["request_id"].value()


@pytest.mark.parametrize("name", ["top-up", "refund"])
def test_a_second_click_moves_nothing_and_says_so(staff: Client, account: Account, name: str) -> None:
    address = f"{ACCOUNTS}{account.pk}/{name}/"
    data = movement("9", "invoice 7") | {"request_id": str(shown_id(staff, address))}
    staff.post(address, data)
    second = staff.post(address, data, follow=True)
    assert second.redirect_chain == [(f"{ACCOUNTS}{account.pk}/change/", 302)]
    assert "This was done before" in second.content.decode()
    assert LedgerEntry.objects.filter(account=account).count() == 2


def test_each_form_has_an_id_of_its_own_and_keeps_it_when_it_comes_back(
    staff: Client, account: Account
) -> None:
    address = f"{ACCOUNTS}{account.pk}/top-up/"
    assert shown_id(staff, address) != shown_id(staff, address)
    sent = movement("lots", "r")
    assert sent["request_id"] in staff.post(address, sent).content.decode()


def test_ten_clicks_at_once_move_the_money_once(staff: Client, account: Account) -> None:
    data = movement("5", "invoice 7")
    address = f"{ACCOUNTS}{account.pk}/top-up/"
    cookies = staff.cookies

    def click(_: int) -> str:
        browser = Client()
        browser.cookies = cookies
        return browser.post(address, data, follow=True).content.decode()

    replies = factories.at_once(10, click)
    account.refresh_from_db()
    assert account.balance_micros == 15_000_000
    assert sum("This was done before" in str(reply) for reply in replies) >= 9


def test_the_id_of_one_accounts_form_moves_no_other_accounts_money(staff: Client, account: Account) -> None:
    other, data = factories.account(), movement("5", "r")
    staff.post(f"{ACCOUNTS}{account.pk}/top-up/", data)
    staff.post(f"{ACCOUNTS}{other.pk}/top-up/", data)
    other.refresh_from_db()
    assert other.balance_micros == 10_000_000


def test_the_database_itself_refuses_a_second_entry_of_one_request(account: Account) -> None:
    entry = ledger.top_up(
        account_id=account.pk, amount_micros=100, actor="ada", reason="r", request_id=uuid4()
    )
    entry.pk, entry.sequence = None, 3
    with pytest.raises(IntegrityError, match="request_id"), transaction.atomic():
        entry.save(force_insert=True)


def test_every_change_of_a_balance_by_staff_is_an_entry_with_actor_and_reason(
    staff: Client, account: Account
) -> None:
    staff.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("5", "invoice 7"))
    staff.post(f"{ACCOUNTS}{account.pk}/refund/", movement("2", "paid back"))
    account.refresh_from_db()
    entries = LedgerEntry.objects.filter(account=account).order_by("sequence")
    assert [(entry.actor, entry.reason) for entry in entries][1:] == [
        ("ada", "invoice 7"),
        ("ada", "paid back"),
    ]
    assert entries.last().balance_after_micros == account.balance_micros == 13_000_000


def test_no_page_of_staff_changes_money_without_the_ledger(staff: Client, account: Account) -> None:
    """Each model with money or history refuses to be added to, edited and deleted, whatever is posted."""
    for model, pages in site._registry.items():
        if model._meta.app_label in {"billing", "workers"} and model is not Account:
            assert not pages.has_change_permission(_request(staff)) or model is ApiKey
            assert not pages.has_delete_permission(_request(staff))
    # What a key has held and spent is no field of its form.
    counters = {"open_hold_count", "counted_since", "held_micros", "spent_micros", "spend_ceiling_micros"}
    assert not counters & set(KeyForm().fields)
    for verb in ("change", "delete"):
        response = staff.post(f"{ACCOUNTS}{account.pk}/{verb}/", {"balance_micros": "1", "post": "yes"})
        assert response.status_code == 403
    account.refresh_from_db()
    assert account.balance_micros == 10_000_000


def _request(staff: Client) -> Any:
    return staff.get("/admin/").wsgi_request
