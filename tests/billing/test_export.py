"""The export of an admin's list: its columns, harmless to a spreadsheet program, and never too long."""

import csv
import io

import pytest
from django.test import Client

from billing.admin import export
from billing.models import Account, LedgerEntry
from tests import factories
from tests.billing.admin_client import ACCOUNTS, ENTRIES, browser_with

pytestmark = pytest.mark.django_db


def exported(browser: Client, address: str, *pks: int) -> list[list[str]]:
    data = {"action": "export_csv", "_selected_action": [str(pk) for pk in pks]}
    reply = browser.post(address, data)
    assert (reply.status_code, reply["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert "no-store" in reply["Cache-Control"]
    return list(csv.reader(io.StringIO(reply.content.decode(), newline="")))


def test_the_selected_rows_are_exported_with_the_columns_of_the_list() -> None:
    first, _ = factories.account(), factories.account()
    header, row = exported(browser_with("view_account"), ACCOUNTS, first.pk)
    assert header[:4] == ["name", "ID", "status", "balance"]
    assert row[:4] == [first.name, str(first.pk), "active", "10.0000"]
    assert row[-1].endswith("+00:00")


def test_a_text_that_a_spreadsheet_would_run_is_made_harmless() -> None:
    account = factories.account()
    Account.objects.filter(pk=account.pk).update(name="=HYPERLINK(1)")
    _, row = exported(browser_with("view_account"), ACCOUNTS, account.pk)
    assert row[0] == "'=HYPERLINK(1)"


def test_the_ledger_is_exported_newest_first() -> None:
    factories.account()
    factories.account()
    pks = LedgerEntry.objects.values_list("pk", flat=True)
    _, *rows = exported(browser_with("view_ledgerentry"), ENTRIES, *pks)
    assert [int(row[0]) for row in rows] == sorted(pks, reverse=True)


def test_an_export_that_is_too_long_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_ROWS", 1)
    pks = [factories.account().pk for _ in range(2)]
    data = {"action": "export_csv", "_selected_action": [str(pk) for pk in pks]}
    reply = browser_with("view_account").post(ACCOUNTS, data, follow=True)
    assert "An export has at most 1 rows." in reply.content.decode()


def test_an_export_needs_the_permission_to_see_the_list() -> None:
    account = factories.account()
    data = {"action": "export_csv", "_selected_action": [str(account.pk)]}
    assert browser_with("view_apikey").post(ACCOUNTS, data).status_code == 403
