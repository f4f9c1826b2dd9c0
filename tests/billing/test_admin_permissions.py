"""One permission of the admin never gives what another guards: money, limits, or further permissions."""

from io import StringIO

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client

from billing import accounts
from billing.models import Account, LedgerEntry
from tests.billing.admin_client import ACCOUNTS, KEYS, act, browser_with, movement, page

pytestmark = pytest.mark.django_db
USERS = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"


def add_account(browser: Client, opening: str) -> str:
    """Fill in and send the form of a new account; return the page that follows."""
    return browser.post(
        f"{ACCOUNTS}add/", {"name": "eve", "opening_micros": opening}, follow=True
    ).content.decode()


@pytest.mark.parametrize("opening", ["10.0001", "10.01", "999999999"])
def test_staff_who_may_only_add_accounts_mint_nothing_over_the_default(opening: str) -> None:
    shown = add_account(browser_with("add_account"), opening)
    assert "must not be over 10.00 USD" in shown
    assert not Account.objects.exists()
    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize(("opening", "micros"), [("0", 0), ("10.00", 10_000_000)])
def test_staff_who_may_only_add_accounts_open_them_with_up_to_the_default(opening: str, micros: int) -> None:
    add_account(browser_with("add_account"), opening)
    assert Account.objects.get().balance_micros == micros


def test_staff_who_may_move_money_open_accounts_with_any_balance() -> None:
    add_account(browser_with("add_account", "change_account"), "500")
    assert Account.objects.get().balance_micros == 500_000_000


def test_the_form_and_the_command_have_one_default() -> None:
    assert f'value="{accounts.DEFAULT_OPENING_USD}"' in page(browser_with("add_account"), f"{ACCOUNTS}add/")
    call_command("create_account", "eve", stdout=StringIO())
    assert Account.objects.get().balance_micros == 10_000_000


def test_staff_who_may_only_add_accounts_and_keys_change_no_account(account: Account) -> None:
    browser = browser_with("add_account", "add_apikey", "view_account", "view_apikey")
    for name in ("top-up", "refund"):
        reply = browser.post(f"{ACCOUNTS}{account.pk}/{name}/", movement("5", "mine"))
        assert reply.status_code == 403
    act(browser, ACCOUNTS, "suspend", account.pk)
    account.refresh_from_db()
    assert (account.status, account.balance_micros) == ("active", 10_000_000)
    assert 'value="revoke"' not in page(browser, KEYS)


@pytest.fixture
def clerk() -> Client:
    """Log a staff member in who has every permission on users and groups."""
    return browser_with(
        *Permission.objects.filter(content_type__app_label="auth").values_list("codename", flat=True)
    )


def test_the_permission_to_change_users_gives_nobody_further_permissions(clerk: Client) -> None:
    bob = User.objects.get(username="bob")
    money = Permission.objects.get(codename="change_account")
    grown = {"username": "bob", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    grown |= {"user_permissions": str(money.pk), "date_joined_0": "2026-01-01", "date_joined_1": "12:00"}
    assert clerk.post(f"{USERS}{bob.pk}/change/", grown).status_code == 403
    bob.refresh_from_db()
    assert not bob.is_superuser
    assert not bob.user_permissions.filter(pk=money.pk).exists()


def test_the_permission_to_change_users_sets_no_password_of_a_superuser(clerk: Client) -> None:
    ada = User.objects.create_superuser("ada", password="correct horse battery staple")
    new = {"password1": "another horse battery", "password2": "another horse battery"}
    assert clerk.post(f"{USERS}{ada.pk}/password/", new).status_code == 403
    ada.refresh_from_db()
    assert ada.check_password("correct horse battery staple")


def test_only_superusers_make_or_delete_users_and_groups(clerk: Client) -> None:
    group = Group.objects.create(name="clerks")
    made = {"username": "eve", "password1": "another horse battery", "password2": "another horse battery"}
    assert clerk.post(f"{USERS}add/", made).status_code == 403
    assert clerk.post(f"{GROUPS}add/", {"name": "minters"}).status_code == 403
    assert clerk.post(f"{GROUPS}{group.pk}/change/", {"name": "minters"}).status_code == 403
    assert clerk.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}).status_code == 403
    act(clerk, GROUPS, "delete_selected", group.pk)
    assert (User.objects.count(), Group.objects.get().name) == (1, "clerks")


def test_superusers_manage_staff(staff: Client) -> None:
    made = {"username": "eve", "usable_password": "true"}
    made |= {"password1": "another horse battery", "password2": "another horse battery"}
    staff.post(f"{USERS}add/", made)
    eve = User.objects.get(username="eve")
    money = Permission.objects.get(codename="change_account")
    grown = {"username": "eve", "is_active": "on", "is_staff": "on", "user_permissions": str(money.pk)}
    staff.post(f"{USERS}{eve.pk}/change/", grown | {"date_joined_0": "2026-01-01", "date_joined_1": "12:00"})
    assert User.objects.get(username="eve").has_perm("billing.change_account")


def test_no_other_page_of_the_admin_writes_what_is_worth_money() -> None:
    # For a new page, ask here: what of it is worth money, and does it need the permission that moves money?
    ours = {model._meta.label for model in admin.site._registry}
    assert ours == {
        "admin.LogEntry",
        "auth.Group",
        "auth.User",
        "billing.Account",
        "billing.ApiKey",
        "billing.CardDispute",
        "billing.CardMovement",
        "billing.CardRefund",
        "billing.DebtEntry",
        "billing.LedgerEntry",
        "billing.RedemptionCode",
        "billing.Reservation",
        "billing.ToldRefund",
        "billing.TopUpOrder",
        "workers.Generation",
        "workers.WebhookDelivery",
        "workers.WebhookEndpoint",
    }
