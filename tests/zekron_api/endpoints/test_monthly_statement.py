"""GET /v1/statements/{month}: what a month began with, what moved, and what it ended with."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from billing.models import Account
from tests.assertions import refusal
from tests.billing.tampering import tamper
from tests.workers.usage.histories import History, roll_up_when_quiet
from tests.zekron_api.callers import Caller
from workers.models import UsageProgress
from workers.usage import roll_up

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
FEBRUARY = datetime(2026, 2, 27, 23, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def history(me: Caller) -> History:
    """Return a history over the three months of which March is told."""
    Account.objects.filter(pk=me.account.pk).update(created_at=FEBRUARY, name="<b>Müller & Söhne</b>")
    history = History(me.account, opened_at=FEBRUARY)
    history.end(FEBRUARY + timedelta(minutes=30))
    history.end(FEBRUARY + 2 * DAY)
    history.end(FEBRUARY + 2 * DAY)
    history.top_up(FEBRUARY + 3 * DAY, 2_000_000)
    history.end(FEBRUARY + 4 * DAY)
    history.refund(FEBRUARY + 5 * DAY, 1_000_000)
    history.end(APRIL)
    history.write_times()
    return history


def close(until: datetime) -> None:
    while roll_up_when_quiet(max_hours=1000, now=until + roll_up.GRACE):
        pass


def test_csv_leads_from_the_opening_to_the_closing_balance(me: Caller, history: History) -> None:
    close(APRIL)
    response = me.get("/v1/statements/2026-03?format=csv")
    assert response["Content-Disposition"] == 'attachment; filename="statement-2026-03.csv"'
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(response.content.decode()))) == [
        ["date", "kind", "model", "images", "amount", "balance"],
        ["2026-03-01", "opening_balance", "", "", "", "9.9733"],
        ["2026-03-01", "settle", "zekron-image-1", "2", "0.0534", ""],
        ["2026-03-02", "credit", "", "", "2.0000", ""],
        ["2026-03-03", "settle", "zekron-image-1", "1", "0.0267", ""],
        ["2026-03-04", "refund", "", "", "1.0000", ""],
        ["2026-03-31", "closing_balance", "", "3", "", "10.8932"],
    ]


def test_html_is_escaped_and_has_no_script_and_no_style_of_its_own(me: Caller, history: History) -> None:
    close(APRIL)
    response = me.get("/v1/statements/2026-03")
    assert response["Content-Type"] == "text/html; charset=utf-8"
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "style-src 'self'" in policy
    page = response.content.decode()
    assert "&lt;b&gt;Müller &amp; Söhne&lt;/b&gt;" in page
    assert not re.search(r"<script|<style|style=|\son\w+=", page)
    for text in ("9.9733", "2.0000", "\u22121.0000", "\u22120.0801", "10.8932", "2026-03-03"):
        assert text in page
    [stylesheet] = re.findall(r'<link rel="stylesheet" href="[^"]*?(/static/[^"]+)">', page)
    served: Any = me.client.get(stylesheet)
    assert b"@page" in b"".join(served.streaming_content)


def test_the_closing_balance_opens_the_next_month(me: Caller, history: History) -> None:
    close(datetime(2026, 5, 1, tzinfo=UTC))
    march, april = (
        list(csv.reader(io.StringIO(me.get(f"/v1/statements/2026-{month}?format=csv").content.decode())))
        for month in ("03", "04")
    )
    assert march[-1][-1] == april[1][-1]
    assert april[-1][-1] == "10.8665"


def test_a_month_that_is_not_closed_is_refused(me: Caller, history: History) -> None:
    assert refusal(me.get("/v1/statements/2026-03")) == (400, "invalid_parameter")
    close(APRIL - timedelta(hours=1))
    response = me.get("/v1/statements/2026-03")
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith("month must be over.")
    close(APRIL)
    assert me.get("/v1/statements/2026-03").status_code == 200
    assert refusal(me.get("/v1/statements/2999-12")) == (400, "invalid_parameter")


def test_a_month_before_the_account_is_not_found(me: Caller, history: History) -> None:
    close(APRIL)
    assert me.get("/v1/statements/2026-02").status_code == 200
    assert refusal(me.get("/v1/statements/2026-01")) == (404, "not_found")


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "0000-01", "9999-12x", "march"])
def test_what_is_no_month_is_refused(me: Caller, month: str) -> None:
    assert refusal(me.get(f"/v1/statements/{month}")) == (400, "invalid_parameter")


def test_a_statement_that_does_not_add_up_is_not_sent(me: Caller, history: History) -> None:
    close(APRIL)
    tamper("UPDATE workers_usagehour SET cost_micros = cost_micros + 100 WHERE hour > '2026-03-01'")
    assert refusal(me.get("/v1/statements/2026-03")) == (500, "internal_error")


def test_staff_print_the_statement_of_any_account(
    me: Caller, history: History, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    close(APRIL)
    for kind in ("csv", "html"):
        call_command("print_statement", str(me.account.pk), "2026-03", format=kind)
        assert capsysbinary.readouterr().out == me.get(f"/v1/statements/2026-03?format={kind}").content
    for month, message in (
        ("2026-3", "year and a month"),
        ("2026-04", "not over"),
        ("2026-01", "opened after"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("print_statement", str(me.account.pk), month)
    UsageProgress.objects.all().delete()
    with pytest.raises(CommandError, match="not over"):
        call_command("print_statement", str(me.account.pk), "2026-03")
