"""The proof before money moves: asked for on the form and on what it sends, which comes back as it was typed."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from billing import keys
from billing.income_models import RedemptionCode
from billing.models import Account, ApiKey, LedgerEntry
from tests import factories
from tests.billing.admin_client import ACCOUNTS, KEYS, movement
from tests.browsers import sign_in
from workers.models import Status

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"
CODES = "/admin/billing/redemptioncode/"
STALE_SECONDS = 15 * 60 + 1


@pytest.fixture
def late(client: Client, settings: Settings) -> Client:
    """Sign a superuser in who has proved long ago who it is."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ada = User.objects.create_superuser("ada", password=PASSWORD)
    return sign_in(client, ada, age_seconds=STALE_SECONDS)


def prove(browser: Client, asked: str) -> str:
    """Give the password on the page that asks for it, and return the page to which it leads."""
    return str(browser.post(asked, {"password": PASSWORD}).headers["Location"])


def paths(account: Account) -> list[str]:
    key, _ = keys.issue(account_id=account.pk)
    made = factories.generation_in(Status.COMPLETED, account)
    of_account = [f"{ACCOUNTS}{account.pk}/{name}/" for name in ("top-up", "refund", "limits", "invite")]
    others = [f"{KEYS}add/", f"{KEYS}{key.pk}/rotate/", f"{CODES}add/", f"{ACCOUNTS}add/"]
    return [*of_account, *others, f"/admin/workers/generation/{made.pk}/refund/"]


def test_each_page_that_moves_money_asks_and_comes_back(late: Client, account: Account) -> None:
    for path in paths(account):
        asked = late.get(path).headers["Location"]
        assert asked.startswith("/me/reauthenticate/?next="), path
    assert prove(late, asked) == path
    for path in paths(account):
        assert late.get(path).status_code == 200


def test_what_is_only_read_asks_for_nothing(late: Client, account: Account) -> None:
    for path in ("/admin/", ACCOUNTS, f"{ACCOUNTS}{account.pk}/change/", KEYS):
        assert late.get(path).status_code == 200


def test_a_form_that_comes_too_late_moves_nothing_and_comes_back_as_typed(
    late: Client, account: Account
) -> None:
    path, typed = f"{ACCOUNTS}{account.pk}/top-up/", movement("5", "invoice 7")
    back = prove(late, late.post(path, typed).headers["Location"])
    assert back == path
    assert LedgerEntry.objects.count() == 1
    page = late.get(back)
    shown = {name: page.context["form"][name].value() for name in typed}
    assert shown == typed
    assert "Nothing was done yet" in page.content.decode()
    assert LedgerEntry.objects.count() == 1
    late.post(path, typed)
    account.refresh_from_db()
    assert account.balance_micros == 15_000_000
    assert "invoice 7" not in late.get(path).content.decode()


def test_a_form_that_was_given_up_is_not_sent_by_a_later_proof(late: Client, account: Account) -> None:
    path = f"{ACCOUNTS}{account.pk}/top-up/"
    late.post(path, movement("5", "invoice 7"))
    assert prove(late, late.get(path).headers["Location"]) == path
    late.get(path)
    assert LedgerEntry.objects.count() == 1


def test_what_was_typed_for_one_account_is_not_shown_for_another(late: Client, account: Account) -> None:
    late.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("5", "invoice 7"))
    other = f"{ACCOUNTS}{factories.account().pk}/top-up/"
    prove(late, late.get(other).headers["Location"])
    assert "invoice 7" not in late.get(other).content.decode()


def test_a_new_key_that_comes_too_late_comes_back_as_typed(late: Client, account: Account) -> None:
    typed = {
        "account": str(account.pk),
        "name": "night jobs",
        "scopes": ["read", "usage"],
        "spend_period": "day",
    }
    back = prove(late, late.post(f"{KEYS}add/", typed | {"spend_limit_micros": "7.50"}).headers["Location"])
    assert not ApiKey.objects.exists()
    form = late.get(back).context["adminform"].form
    shown = {name: form[name].value() for name in (*typed, "spend_limit_micros")}
    assert shown == typed | {"spend_limit_micros": "7.50"}


def test_new_codes_that_come_too_late_come_back_as_typed(late: Client) -> None:
    typed = {
        "amount_micros": "2.50",
        "count": "3",
        "reason": "fair",
        "expires_at_0": "2027-01-02",
        "expires_at_1": "03:04",
    }
    page = late.get(prove(late, late.post(f"{CODES}add/", typed).headers["Location"])).content.decode()
    assert not RedemptionCode.objects.exists()
    assert all(f'value="{value}"' in page for value in typed.values())


def test_somebody_without_the_permission_is_refused_before_a_proof(account: Account) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    browser = sign_in(Client(), bob, age_seconds=STALE_SECONDS)
    for path in (
        f"{ACCOUNTS}{account.pk}/top-up/",
        f"{ACCOUNTS}{account.pk}/invite/",
        f"{KEYS}add/",
        f"{CODES}add/",
    ):
        assert browser.get(path).status_code == 403


def test_a_wrong_password_proves_nothing(late: Client, account: Account) -> None:
    path = f"{ACCOUNTS}{account.pk}/top-up/"
    asked = late.get(path).headers["Location"]
    assert late.post(asked, {"password": "wrong"}).status_code == 200
    assert late.get(path).headers["Location"] == asked
