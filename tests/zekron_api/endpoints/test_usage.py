"""GET /v1/usage: the roll-up and the present hours, by time and group."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing import keys
from tests import factories
from tests.assertions import refusal
from tests.workers.usage.histories import History, roll_up_when_quiet
from tests.zekron_api.callers import Caller
from workers.models import Generation, Status
from workers.usage import queries

pytestmark = pytest.mark.django_db

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# The tests' months end in the past of every machine.
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
RANGE = "from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z"


@pytest.fixture
def history(me: Caller) -> History:
    return History(me.account, opened_at=NINE)


def usage(me: Caller, query: str) -> Any:
    response = me.get(f"/v1/usage?{query}")
    assert response.status_code == 200, response.content
    return response.json()["data"]


def test_rows_and_total_have_images_cost_and_times(me: Caller, history: History) -> None:
    history.end(NINE + 10 * MINUTE, wait_seconds=2.2, make_seconds=0.35)
    history.end(NINE + 20 * MINUTE, wait_seconds=9, make_seconds=0.35)
    history.end(NINE + 21 * MINUTE, status=Status.FAILED)
    history.end(NINE + 25 * HOUR, status=Status.CANCELLED)
    history.write_times()
    data = usage(me, RANGE)
    assert data["bucket"] == "day"
    assert data["group_by"] == []
    first, second = data["rows"]
    assert first == {
        "start": "2026-03-01T00:00:00+00:00",
        "images": 2,
        "cost": "0.0534",
        "failed": 1,
        "cancelled": 0,
        "wait_seconds_p50": 2.5,
        "wait_seconds_p95": 9.8,
        "make_seconds_p50": 0.35,
        "make_seconds_p95": 0.395,
    }
    assert (second["start"], second["images"], second["cancelled"]) == ("2026-03-02T00:00:00+00:00", 0, 1)
    assert second["wait_seconds_p50"] is None
    assert (data["total"]["images"], data["total"]["failed"], data["total"]["cancelled"]) == (2, 1, 1)


@pytest.mark.parametrize("closed_hours", [0, 1, 2, 3, 30])
def test_the_reply_is_the_same_however_much_is_rolled_up(
    me: Caller, history: History, closed_hours: int
) -> None:
    for minutes in (10, 57, 70, 130, 60 * 26):
        history.end(NINE + minutes * MINUTE)
        history.end(NINE + minutes * MINUTE + MINUTE, status=Status.FAILED, width=768)
    history.write_times()
    query = f"{RANGE}&bucket=hour&group_by=size,type"
    before = usage(me, query)
    assert len(before["rows"]) == 8
    roll_up_when_quiet(max_hours=closed_hours, now=NINE + 40 * HOUR)
    assert usage(me, query) == before


def test_groups_are_named_in_each_row(me: Caller, history: History) -> None:
    key, _ = keys.issue(account_id=me.account.pk)
    history.end(NINE + 10 * MINUTE, api_key_id=key.pk)
    history.end(NINE + 11 * MINUTE, width=768)
    history.write_times()
    data = usage(me, f"{RANGE}&bucket=month&group_by=key,model,type,size")
    assert data["group_by"] == ["key", "model", "type", "size"]
    named = [
        {name: row[name] for name in ("start", "key_id", "model", "type", "size", "images")}
        for row in data["rows"]
    ]
    start = "2026-03-01T00:00:00+00:00"
    same = {"start": start, "model": "zekron-image-1", "type": "create", "images": 1}
    assert named == [
        {**same, "key_id": key.pk, "size": "512x512"},
        {**same, "key_id": None, "size": "768x512"},
    ]


def test_metadata_is_counted_from_the_generations(me: Caller, history: History) -> None:
    for label in ("7", "7", "8"):
        history.end(NINE + 10 * MINUTE, parameters={"metadata": {"order, of": label}})
    erased = history.end(NINE + 11 * MINUTE, parameters={"metadata": {"order, of": "9"}})
    history.write_times()
    roll_up_when_quiet(now=NINE + 40 * HOUR)
    Generation.objects.filter(pk=erased.pk).update(parameters={"width": 512, "height": 512})
    data = usage(me, f"{RANGE}&group_by=model,metadata.order, of")
    assert data["group_by"] == ["model", "metadata.order, of"]
    assert [(row["metadata"], row["images"]) for row in data["rows"]] == [("7", 2), ("8", 1), (None, 1)]


def test_another_accounts_usage_is_not_mine(me: Caller, stranger: Caller, history: History) -> None:
    history.end(NINE + 10 * MINUTE, parameters={"metadata": {"a": "b"}})
    history.write_times()
    for _ in range(2):
        for more in ("", "&group_by=metadata.a"):
            assert usage(me, RANGE + more)["total"]["images"] == 1
            assert usage(stranger, RANGE + more)["rows"] == []
        roll_up_when_quiet(now=NINE + 40 * HOUR)


def test_of_two_accounts_at_one_time_each_sees_its_own(me: Caller, stranger: Caller) -> None:
    for owner in (me, stranger, stranger):
        factories.generation_in(Status.COMPLETED, owner.account)
    for more in ("", "?group_by=metadata.a"):
        counts = [who.get(f"/v1/usage{more}").json()["data"]["total"]["images"] for who in (me, stranger)]
        assert counts == [1, 2]


def test_without_a_range_the_reply_has_the_last_30_days_and_this_moment(me: Caller) -> None:
    factories.generation_in(Status.COMPLETED, me.account)
    data = usage(me, "")
    assert data["total"]["images"] == 1
    begin, end = (datetime.fromisoformat(data[name]) for name in ("from", "to"))
    assert end - begin == timedelta(days=30)
    assert end > datetime.now(UTC)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=2026-03-01", "from must be an ISO 8601 time with an offset"),
        ("from=2026-03-01T00:30:00Z", "from must be a full hour in UTC, such as 2026-11-27T12:00:00Z."),
        ("to=2026-03-01T00:00:01Z", "to must be a full hour in UTC, such as 2026-11-27T12:00:00Z."),
        ("from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from must be before to."),
        ("to=0001-01-01T00:00:00Z", "from must be before to."),
        ("from=2026-03-01T00:00:00Z&to=2027-03-03T00:00:00Z", "from and to must be at most 366 days apart."),
        (
            "bucket=hour&from=2026-03-01T00:00:00Z&to=2026-04-01T01:00:00Z",
            "from and to must be at most 31 days apart.",
        ),
        (
            "group_by=metadata.a&from=2026-03-01T00:00:00Z&to=2026-04-01T01:00:00Z",
            "from and to must be at most 31 days apart.",
        ),
        ("bucket=week", "Unknown bucket. Allowed: hour, day, month."),
        ("group_by=colour", "Unknown name in group_by. Allowed: key, model, type, size, metadata.NAME."),
        (
            "group_by=keymetadata.a",
            "Unknown name in group_by. Allowed: key, model, type, size, metadata.NAME.",
        ),
        ("group_by=", "Unknown name in group_by. Allowed: key, model, type, size, metadata.NAME."),
        ("group_by=key,key", "group_by has a name twice. Send each once."),
        ("group_by=metadata.", "Each name in metadata must have 1 to 64 characters."),
        ("bucket=day&bucket=day", "bucket was sent more than once. Send it once."),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(me: Caller, query: str, message: str) -> None:
    response = me.get(f"/v1/usage?{query}")
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(message)


def test_a_reply_has_a_limit_of_rows(me: Caller, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.end(NINE + 10 * MINUTE)
    history.end(NINE + 70 * MINUTE)
    history.write_times()
    monkeypatch.setattr(queries, "MAX_ROWS", 1)
    assert len(usage(me, RANGE)["rows"]) == 1
    response = me.get(f"/v1/usage?{RANGE}&bucket=hour")
    assert refusal(response) == (400, "invalid_parameter")
    assert "more than 1 rows" in response.json()["error"]["message"]


def test_metadata_of_too_many_entries_is_refused_without_reading_them(
    me: Caller, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.end(NINE + 10 * MINUTE)
    history.write_times()
    # The opening credit, a hold and its settlement.
    for limit, status in ((3, 200), (2, 400)):
        monkeypatch.setattr(queries, "MAX_ENTRIES_READ", limit)
        assert me.get(f"/v1/usage?{RANGE}&group_by=metadata.a").status_code == status
