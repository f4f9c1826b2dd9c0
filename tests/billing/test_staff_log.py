"""The log of staff: append-only by the database, and a page to read it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client

from tests import factories
from tests.billing.admin_client import ACCOUNTS, browser_with, page

pytestmark = pytest.mark.django_db
LOG = "/admin/admin/logentry/"


@pytest.fixture
def browser() -> Client:
    """Log in a member of staff who has suspended an account."""
    suspended = factories.account()
    browser = browser_with("change_account", "view_account", "view_logentry")
    browser.post(ACCOUNTS, {"action": "suspend", "_selected_action": [str(suspended.pk)]})
    return browser


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE django_admin_log SET change_message = ''",
        "DELETE FROM django_admin_log",
        "SET LOCAL session_replication_role = replica; DELETE FROM django_admin_log",
    ],
)
def test_an_entry_is_never_changed_or_deleted(browser: Client, statement: str) -> None:
    assert LogEntry.objects.get().user.username == "bob"
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert LogEntry.objects.get().get_change_message() == "Suspended."


def test_a_user_with_entries_cannot_be_deleted_and_one_without_can(browser: Client) -> None:
    newcomer = User.objects.create_user("eve", is_staff=True)
    newcomer.delete()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        User.objects.get(username="bob").delete()
    assert User.objects.filter(username="bob").exists()


def test_the_admin_offers_no_deletion_of_staff(staff: Client) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    assert staff.post(f"/admin/auth/user/{bob.pk}/delete/", {"post": "yes"}).status_code == 403
    assert 'value="delete_selected"' not in page(staff, "/admin/auth/user/")
    assert User.objects.filter(pk=bob.pk).exists()


def test_the_page_shows_who_did_what_and_when_and_changes_nothing(browser: Client) -> None:
    shown = page(browser, LOG)
    assert ("bob" in shown, "Suspended." in shown, "UTC" in shown) == (True, True, True)
    entry = LogEntry.objects.get()
    assert "Suspended." in page(browser, f"{LOG}{entry.pk}/change/")
    assert browser.post(f"{LOG}{entry.pk}/change/", {"change_message": ""}).status_code == 403
    assert browser.post(f"{LOG}{entry.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_page_needs_its_permission() -> None:
    assert browser_with("view_account").get(LOG).status_code == 403
