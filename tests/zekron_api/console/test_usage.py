"""The page Usage: the numbers of GET /v1/usage, by range, group and measure, and the export by the session."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from billing import keys
from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.assertions import refusal
from tests.workers.usage.histories import History, roll_up_when_quiet
from tests.zekron_api.console.browsing import text_of
from tests.zekron_api.console.people import member, signed_in
from workers.models import Status
from workers.usage import queries
from zekron_api.console import usage_series

pytestmark = pytest.mark.django_db

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
MARCH = "first=2026-03-01&last=2026-03-31"


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def viewer(account: Account) -> Client:
    return signed_in(member(account, Role.VIEWER))


@pytest.fixture
def history(account: Account) -> History:
    return History(account, opened_at=NINE)


def ask(who: Client, account: Account, query: str = "") -> Any:
    response = who.get(f"/console/{account.pk}/usage?{query}")
    assert response.status_code == 200, response.content
    return response


def chart_of(response: Any) -> Any:
    found = re.search(
        r'<script id="chart-data" type="application/json">(.*?)</script>', response.content.decode()
    )
    return json.loads(found[1])


def test_figures_and_table_have_the_numbers_of_the_api(
    account: Account, viewer: Client, history: History
) -> None:
    history.end(NINE + 10 * MINUTE, wait_seconds=2.2, make_seconds=0.35)
    history.end(NINE + 20 * MINUTE, wait_seconds=9, make_seconds=0.35)
    history.end(NINE + 21 * MINUTE, status=Status.FAILED)
    history.end(NINE + 25 * HOUR, status=Status.CANCELLED)
    history.write_times()
    shown = text_of(ask(viewer, account, MARCH))
    assert (
        "Pictures 2 Cost 0.0534 USD Failed (free) 1 Cancelled (free) 1 Time to make, median 0.35 s" in shown
    )
    assert "2026-03-02 0 0.0000 USD 0 1" + 4 * " \N{EN DASH}" in shown
    assert "2026-03-01 2 0.0534 USD 1 0 0.35 s 0.40 s 2.50 s 9.80 s" in shown


@pytest.mark.parametrize(
    ("query", "count", "labels"),
    [
        ("first=2026-03-01&last=2026-03-03", 72, ("2026-03-01 00:00", "2026-03-03 23:00")),
        (MARCH, 31, ("2026-03-01", "2026-03-31")),
        ("first=2025-03-01&last=2026-03-01", 13, ("2025-03", "2026-03")),
    ],
)
def test_the_length_of_a_bar_follows_the_range(
    account: Account, viewer: Client, history: History, query: str, count: int, labels: tuple[str, str]
) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    chart = chart_of(ask(viewer, account, query))
    assert (len(chart["labels"]), chart["labels"][0], chart["labels"][-1]) == (count, *labels)
    [series] = chart["series"]
    assert (len(series["values"]), sum(series["values"])) == (count, 1)


def test_the_usual_range_is_30_days_up_to_this_moment(account: Account, viewer: Client) -> None:
    factories.generation_in(Status.COMPLETED, account)
    response = ask(viewer, account)
    chart = chart_of(response)
    assert (len(chart["labels"]), chart["series"][0]["values"][-1]) == (30, 1)
    assert 'href="?days=30" aria-current="true"' in response.content.decode()


def test_a_range_ends_with_the_present_day(account: Account, viewer: Client) -> None:
    factories.generation_in(Status.COMPLETED, account)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    chart = chart_of(ask(viewer, account, f"first={yesterday}&last=9999-12-31"))
    assert chart["labels"][0] == f"{yesterday} 00:00"
    assert 24 < len(chart["labels"]) <= 49


def test_keys_are_named_and_work_without_a_key_has_its_own_group(
    account: Account, viewer: Client, history: History
) -> None:
    named, _ = keys.issue(account_id=account.pk, name="<Shop>")
    nameless, _ = keys.issue(account_id=account.pk, name="")
    for key_id in (named.pk, named.pk, named.pk, nameless.pk, nameless.pk, None):
        history.end(NINE + 10 * MINUTE, api_key_id=key_id)
    history.write_times()
    response = ask(viewer, account, f"{MARCH}&group=key&show=cost")
    series = {each["name"]: sum(each["values"]) for each in chart_of(response)["series"]}
    assert series == pytest.approx({f"<Shop> ({named})": 0.0801, str(nameless): 0.0534, "No key": 0.0267})
    shown = text_of(response)
    assert "2026-03-01 0.0801 0.0534 0.0267 0.1602" in shown
    assert "“No key” stands for pictures that people made in this console" in shown
    assert "&lt;Shop&gt;" in response.content.decode()


def test_more_groups_than_colours_share_one(account: Account, viewer: Client, history: History) -> None:
    count = usage_series.MAX_SERIES + 2
    for index in range(count):
        for _ in range(2 if index < usage_series.MAX_SERIES else 1):
            history.end(NINE + 10 * MINUTE, width=256 + 16 * index)
    history.write_times()
    response = ask(viewer, account, f"{MARCH}&group=size")
    series = chart_of(response)["series"]
    assert len(series) == usage_series.MAX_SERIES + 1
    assert (series[-1]["name"], sum(series[-1]["values"])) == ("Others", 2)
    # The table of the groups has them all.
    assert response.content.decode().count('<th scope="row"') == count + 1


def test_the_page_says_which_numbers_are_final(account: Account, viewer: Client, history: History) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    roll_up_when_quiet(now=NINE + 2 * HOUR)
    assert "Numbers are final until 2026-03-01 10:00 UTC" in text_of(ask(viewer, account, MARCH))
    for _ in range(32):
        roll_up_when_quiet(now=NINE + 32 * 24 * HOUR)
    assert "These numbers are final." in text_of(ask(viewer, account, MARCH))


@pytest.mark.parametrize(
    ("query", "message", "typed"),
    [
        (
            "first=2026-03-05&last=2026-03-01",
            "The first day must not be after the last one",
            'value="2026-03-05"',
        ),
        ("first=9999-12-31", "or after today in UTC", 'value="9999-12-31"'),
        ("first=2025-02-28&last=2026-03-01", "at most 366 days", 'value="2025-02-28"'),
        ("first=yesterday", "Enter a day such as 2026-11-27.", 'value="yesterday"'),
        ("last=0001-01-01", "greater than or equal to 2000-01-01", 'value="0001-01-01"'),
        (f"{MARCH}&group=colour", "Select a valid choice.", 'value="2026-03-01"'),
    ],
)
def test_a_wrong_range_comes_back_with_its_error(
    account: Account, viewer: Client, query: str, message: str, typed: str
) -> None:
    content = ask(viewer, account, query).content.decode()
    assert message in content
    assert typed in content
    assert 'id="chart"' not in content


def test_a_range_of_too_many_rows_is_refused_in_the_form(
    account: Account, viewer: Client, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.end(NINE + 10 * MINUTE)
    history.end(NINE + 30 * HOUR)
    history.write_times()
    monkeypatch.setattr(queries, "MAX_ROWS", 1)
    assert "This range has too many groups." in text_of(ask(viewer, account, MARCH))


def test_the_export_of_the_range_is_a_file_of_every_charge(
    account: Account, viewer: Client, history: History
) -> None:
    made = history.end(NINE + 10 * MINUTE)
    history.end(NINE + 40 * 24 * HOUR)
    history.write_times()
    content = ask(viewer, account, MARCH).content.decode()
    for kind in ("csv", "jsonl"):
        [address] = re.findall(rf'href="(/console/[^"]+format={kind})"', content)
        response = viewer.get(address.replace("&amp;", "&"))
        lines = response.content.decode().splitlines()
        assert response["Content-Disposition"] == f'attachment; filename="usage.{kind}"'
        assert len(lines) == (2 if kind == "csv" else 1)
        assert str(made.pk) in lines[-1]


def test_strangers_get_neither_the_page_nor_the_export(account: Account) -> None:
    stranger = signed_in(member(factories.account()))
    for path in ("usage", "api/usage/export"):
        assert refusal(stranger.get(f"/console/{account.pk}/{path}", headers={"Accept": "*/*"})) == (
            404,
            "not_found",
        )
    reply = Client().get(f"/console/{account.pk}/api/usage/export")
    assert refusal(reply) == (401, "unauthorized")
