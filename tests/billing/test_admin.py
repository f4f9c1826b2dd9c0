"""The admin's pages: what staff can do there, and what nobody can."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from billing import keys, ledger
from billing.models import Account, ApiKey, LedgerEntry, Reservation
from tests import movements
from tests.billing.admin_client import (
    ACCOUNTS,
    ENTRIES,
    KEYS,
    RESERVATIONS,
    act,
    browser_with,
    movement,
    page,
)
from tests.browsers import sign_in

pytestmark = pytest.mark.django_db


def test_the_admin_is_called_zekron(staff: Client) -> None:
    assert "Zekron" in page(staff, "/admin/")
    assert "Django administration" not in page(staff, "/admin/")


def test_accounts_are_listed_with_their_money_and_found_by_name_and_id(
    staff: Client, account: Account
) -> None:
    other = ledger.open_account(name="other", opening_micros=100, actor="test")
    movements.hold(account_id=account.pk, quote_micros=26_700)
    listed = page(staff, ACCOUNTS)
    assert 'value="suspend"' in listed
    assert all(text in listed for text in ("demo", "other", "10.0000", "0.0267", "9.9733"))
    for search in ("dem", str(account.pk)):
        found = page(staff, f"{ACCOUNTS}?q={search}")
        assert f"{ACCOUNTS}{account.pk}/change/" in found
        assert f"{ACCOUNTS}{other.pk}/change/" not in found


def test_an_account_opened_in_the_admin_starts_through_the_ledger(staff: Client) -> None:
    assert 'value="10.00"' in page(staff, f"{ACCOUNTS}add/")
    staff.post(f"{ACCOUNTS}add/", {"name": "eve", "opening_micros": "10.00"})
    account = Account.objects.get()
    entry = LedgerEntry.objects.get(account=account)
    assert (account.name, account.balance_micros) == ("eve", 10_000_000)
    assert (entry.kind, entry.actor, entry.reason) == ("credit", "ada", "opening balance")


@pytest.mark.parametrize(
    ("name", "opening", "said"),
    [
        ("demo", "1", "already exists"),
        ("42", "1", "must not be a number"),
        ("eve", "lots", "not an amount"),
        ("eve", "", "required"),
        ("", "1", "required"),
        ("x" * 101, "1", "at most 100"),
    ],
)
def test_an_account_that_cannot_be_opened_says_why(
    staff: Client, account: Account, name: str, opening: str, said: str
) -> None:
    reply = staff.post(f"{ACCOUNTS}add/", {"name": name, "opening_micros": opening})
    assert reply.status_code == 200
    assert said in reply.content.decode()
    assert Account.objects.count() == 1


def test_an_account_is_shown_and_never_edited_or_deleted(staff: Client, account: Account) -> None:
    shown = page(staff, f"{ACCOUNTS}{account.pk}/change/")
    assert "10.0000" in shown
    assert "_save" not in shown
    assert f"{ACCOUNTS}{account.pk}/top-up/" in shown
    assert f"?account__id__exact={account.pk}" in shown
    edit = {"name": "mine", "balance_micros": "99000000", "opening_micros": "5"}
    assert staff.post(f"{ACCOUNTS}{account.pk}/change/", edit).status_code == 403
    assert staff.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page(staff, ACCOUNTS)
    account.refresh_from_db()
    assert (account.name, account.balance_micros) == ("demo", 10_000_000)


@pytest.mark.parametrize(
    ("name", "kind", "balance"), [("top-up", "credit", 15_500_000), ("refund", "refund", 4_500_000)]
)
def test_money_is_moved_with_a_reason_in_the_staff_members_name(
    staff: Client, account: Account, name: str, kind: str, balance: int
) -> None:
    address = f"{ACCOUNTS}{account.pk}/{name}/"
    assert "10.0000 USD available" in page(staff, address)
    reply = staff.post(address, movement("5.50", "invoice 7"), follow=True)
    entry = LedgerEntry.objects.get(sequence=2)
    account.refresh_from_db()
    assert reply.redirect_chain == [(f"{ACCOUNTS}{account.pk}/change/", 302)]
    assert "5.5000 USD, balance" in reply.content.decode()
    assert (entry.kind, entry.actor, entry.reason, account.balance_micros) == (
        kind,
        "ada",
        "invoice 7",
        balance,
    )
    assert "5.5000 USD" in LogEntry.objects.get().change_message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("top-up", movement("5", " "), "required"),
        ("top-up", movement("0", "r"), "over zero"),
        ("top-up", movement("-5", "r"), "not an amount"),
        ("top-up", movement("", "r"), "required"),
        ("top-up", movement("5", "r") | {"request_id": ""}, "required"),
        ("top-up", movement("5", "r") | {"request_id": "1"}, "valid UUID"),
        ("top-up", {}, "required"),
        ("refund", movement("9.9734", "r"), "has 9.9733 USD available"),
    ],
)
def test_money_that_cannot_be_moved_says_why(
    staff: Client, account: Account, name: str, data: dict[str, str], said: str
) -> None:
    movements.hold(account_id=account.pk, quote_micros=26_700)
    reply = staff.post(f"{ACCOUNTS}{account.pk}/{name}/", data)
    assert reply.status_code == 200
    assert said in reply.content.decode()
    assert LedgerEntry.objects.count() == 2


def test_money_of_an_account_that_does_not_exist_is_not_found(staff: Client) -> None:
    page(staff, f"{ACCOUNTS}404/top-up/", 404)


def test_accounts_are_suspended_and_reinstated(staff: Client, account: Account) -> None:
    assert "Suspended." in act(staff, ACCOUNTS, "suspend", account.pk)
    account.refresh_from_db()
    assert account.status == "suspended"
    assert "Reinstated." in act(staff, ACCOUNTS, "reinstate", account.pk)
    account.refresh_from_db()
    assert account.status == "active"
    assert LogEntry.objects.count() == 2


def test_staff_who_may_only_look_cannot_act(account: Account) -> None:
    key, _ = keys.issue(account_id=account.pk)
    browser = browser_with("view_account", "view_apikey")
    assert 'value="suspend"' not in page(browser, ACCOUNTS)
    assert "top-up" not in page(browser, f"{ACCOUNTS}{account.pk}/change/")
    assert 'value="revoke"' not in page(browser, KEYS)
    for name in ("top-up", "refund"):
        page(browser, f"{ACCOUNTS}{account.pk}/{name}/", 403)
        assert browser.post(f"{ACCOUNTS}{account.pk}/{name}/", movement("5", "mine")).status_code == 403
    act(browser, ACCOUNTS, "suspend", account.pk)
    act(browser, KEYS, "revoke", key.pk)
    assert browser.post(f"{ACCOUNTS}add/", {"name": "eve", "opening_micros": "1"}).status_code == 403
    assert browser.post(f"{KEYS}add/", {"account": account.pk, "name": ""}).status_code == 403
    account.refresh_from_db()
    key.refresh_from_db()
    assert (account.status, account.balance_micros, key.revoked_at) == ("active", 10_000_000, None)
    assert (Account.objects.count(), ApiKey.objects.count()) == (1, 1)


def test_staff_with_the_change_permission_can_act(account: Account) -> None:
    key, _ = keys.issue(account_id=account.pk)
    browser = browser_with("change_account", "change_apikey")
    browser.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("5", "r"))
    act(browser, ACCOUNTS, "suspend", account.pk)
    act(browser, KEYS, "revoke", key.pk)
    account.refresh_from_db()
    key.refresh_from_db()
    assert (account.status, account.balance_micros) == ("suspended", 15_000_000)
    assert key.revoked_at is not None


def test_staff_without_permission_and_strangers_see_nothing(account: Account) -> None:
    browser = browser_with()
    for address in (ACCOUNTS, KEYS, RESERVATIONS, ENTRIES, f"{ACCOUNTS}{account.pk}/top-up/"):
        page(browser, address, 403)
        assert "/admin/login/" in Client().get(address).headers["Location"]


def test_moving_money_needs_the_forms_own_token(account: Account) -> None:
    browser = Client(enforce_csrf_checks=True)
    sign_in(browser, User.objects.create_superuser("ada"))
    assert browser.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("5", "r")).status_code == 403
    assert LedgerEntry.objects.count() == 1


@pytest.mark.parametrize("address", [RESERVATIONS, ENTRIES])
def test_money_records_are_read_only_and_found(staff: Client, account: Account, address: str) -> None:
    held = movements.hold(account_id=account.pk, quote_micros=26_700)
    mine = Reservation.objects.get(pk=held.reservation_id)
    other = ledger.open_account(name="other", opening_micros=1_000_000, actor="test")
    movements.hold(account_id=other.pk, quote_micros=25_400)
    row: Reservation | LedgerEntry = (
        mine if address == RESERVATIONS else LedgerEntry.objects.get(reservation=mine)
    )
    listed = page(staff, address)
    assert "0.0267" in listed
    assert "0.0254" in listed
    for search in ("demo", str(mine.pk)):
        found = page(staff, f"{address}?q={search}")
        assert "0.0267" in found
        assert "0.0254" not in found
    page(staff, f"{address}add/", 403)
    shown = page(staff, f"{address}{row.pk}/change/")
    assert "0.0267" in shown
    assert "_save" not in shown
    for verb in ("change", "delete"):
        assert staff.post(f"{address}{row.pk}/{verb}/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in listed


def test_the_ledger_of_one_account_is_a_page(staff: Client, account: Account) -> None:
    ledger.open_account(name="other", opening_micros=25_400, actor="test")
    shown = page(staff, f"{ENTRIES}?account__id__exact={account.pk}")
    assert "10.0000" in shown
    assert "0.0254" not in shown
