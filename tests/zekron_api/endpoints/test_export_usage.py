"""GET /v1/usage/export: each charge once, as CSV or JSON lines, in pages."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing import keys, spreadsheet
from tests import factories
from tests.assertions import refusal
from tests.workers.usage.histories import History
from tests.zekron_api.callers import Caller
from workers.models import Status
from workers.usage import export

pytestmark = pytest.mark.django_db

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
RANGE = "from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z"


@pytest.fixture
def history(me: Caller) -> History:
    return History(me.account, opened_at=NINE)


def lines(me: Caller, query: str) -> list[Any]:
    response = me.get(f"/v1/usage/export?{query}&format=jsonl")
    assert response.status_code == 200, response.content
    return [json.loads(line) for line in response.content.splitlines()]


def table(me: Caller, query: str) -> list[list[str]]:
    response = me.get(f"/v1/usage/export?{query}")
    assert response.status_code == 200, response.content
    return list(csv.reader(io.StringIO(response.content.decode(), newline="")))


def test_a_line_has_what_a_charge_is_for(me: Caller, history: History) -> None:
    key, _ = keys.issue(account_id=me.account.pk, name="shop")
    made = history.end(NINE + 10 * MINUTE, api_key_id=key.pk, parameters={"metadata": {"order": "7"}})
    history.end(NINE + 11 * MINUTE, status=Status.FAILED)
    history.write_times()
    [line] = lines(me, RANGE)
    assert line == {
        "entry": 3,
        "charged_at": "2026-03-01T09:10:00+00:00",
        "cost": "0.0267",
        "generation_id": made.pk,
        "accepted_at": "2026-03-01T09:09:57+00:00",
        "model": "zekron-image-1",
        "type": "create",
        "size": "512x512",
        "key_id": key.pk,
        "key_name": "shop",
        "metadata": {"order": "7"},
    }
    names, row = table(me, RANGE)
    assert names == list(line)
    assert row == [*map(str, list(line.values())[:-1]), '{"order": "7"}']


def test_the_format_and_the_name_of_the_file_are_in_the_headers(me: Caller) -> None:
    for kind, media_type in (("csv", "text/csv; charset=utf-8"), ("jsonl", "application/jsonl")):
        response = me.get(f"/v1/usage/export?format={kind}")
        assert response["Content-Type"] == media_type
        assert response["Content-Disposition"] == f'attachment; filename="usage.{kind}"'
        assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_text_that_begins_like_a_formula_is_harmless_in_csv(
    me: Caller, history: History, start: str
) -> None:
    name = f'{start}HYPERLINK("https://example.com")'
    key, _ = keys.issue(account_id=me.account.pk, name="x")
    key.name = name
    key.save()
    history.end(NINE + 10 * MINUTE, api_key_id=key.pk)
    history.write_times()
    names, row = table(me, RANGE)
    assert row[names.index("key_name")] == f"'{name}"
    assert lines(me, RANGE)[0]["key_name"] == name


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Ann;=cmd|' /C calc'!A0;", "Ann;'=cmd|' /C calc'!A0;"),
        ("a\t @SUM(1)", "a\t '@SUM(1)"),
        ('a; "+1', "a; \"'+1"),
        ("a;b-c", "a;b-c"),
    ],
)
def test_a_formula_behind_another_separator_is_harmless_in_csv(text: str, written: str) -> None:
    [[cell]] = csv.reader(io.StringIO(spreadsheet.write([[text]]).decode(), newline=""))
    assert cell == written


def test_an_export_that_goes_on_without_a_range_begins_no_later(me: Caller, history: History) -> None:
    old = datetime.now(UTC) - timedelta(days=31)
    for minutes in range(3):
        history.end(old + minutes * MINUTE)
    history.write_times()
    assert lines(me, "") == []
    assert [line["entry"] for line in lines(me, "after=3")] == [5, 7]


@pytest.mark.parametrize("entries_a_page", [1, 2, 3, 100])
def test_pages_have_each_charge_once_and_an_export_goes_on_after_any(
    me: Caller, history: History, monkeypatch: pytest.MonkeyPatch, entries_a_page: int
) -> None:
    monkeypatch.setattr(export, "ENTRIES_A_PAGE", entries_a_page)
    for minutes in range(4):
        history.end(NINE + minutes * MINUTE)
        history.end(NINE + minutes * MINUTE, status=Status.CANCELLED)
    history.write_times()
    whole = [line["entry"] for line in lines(me, RANGE)]
    assert whole == [3, 7, 11, 15]
    for number, entry in enumerate(whole):
        assert [line["entry"] for line in lines(me, f"{RANGE}&after={entry}")] == whole[number + 1 :]
    # The names of the columns are at the beginning of the file.
    assert [row[0] for row in table(me, RANGE)] == ["entry", "3", "7", "11", "15"]
    assert [row[0] for row in table(me, f"{RANGE}&after=7")] == ["11", "15"]


def test_a_range_is_exact_to_the_second_and_only_my_own(
    me: Caller, stranger: Caller, history: History
) -> None:
    for hours in range(4):
        history.end(NINE + hours * HOUR)
    history.write_times()
    query = "from=2026-03-01T10:00:00Z&to=2026-03-01T12:00:00Z"
    assert [line["entry"] for line in lines(me, query)] == [5, 7]
    assert lines(stranger, query) == []


def test_of_two_accounts_at_one_time_each_exports_its_own(me: Caller, stranger: Caller) -> None:
    made = {who: factories.generation_in(Status.COMPLETED, who.account).pk for who in (me, stranger)}
    for who, generation_id in made.items():
        assert [line["generation_id"] for line in lines(who, "")] == [generation_id]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("format=xlsx", "Unknown format. Allowed: csv, jsonl."),
        ("after=0", "after must be a whole number of at least 1."),
        ("from=2026-03-01T00:00:00Z&to=2027-03-03T00:00:00Z", "from and to must be at most 366 days apart."),
        ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "from must be before to."),
        ("after=1&after=2", "after was sent more than once. Send it once."),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(me: Caller, query: str, message: str) -> None:
    response = me.get(f"/v1/usage/export?{query}")
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(message)
