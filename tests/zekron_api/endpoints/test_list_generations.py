"""GET /v1/generations with filters and a cursor, beside the published pages, which stay as they are."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests import factories
from tests.assertions import refusal
from tests.factories import NOW
from tests.zekron_api.callers import Caller
from workers.lifecycle import history
from workers.models import Generation, Kind, Status

pytestmark = pytest.mark.django_db(transaction=True)
STATUSES = "Allowed: queued, running, completed, failed, cancelled."


def ask(who: Caller, **query: object) -> Any:
    return who.get(f"/v1/generations?{urlencode(query)}")


def page(who: Caller, **query: object) -> Any:
    response = ask(who, **query)
    assert response.status_code == 200, response.content
    return response.json()["data"]


def ids(who: Caller, **query: object) -> list[int]:
    return [row["id"] for row in page(who, **query)["generations"]]


@pytest.fixture
def rows(me: Caller, stranger: Caller, idle_worker: None) -> list[Generation]:
    """Make a generation in each status, a minute apart and the newest last. The second and fourth are edits."""
    for index, status in enumerate(Status):
        factories.generation_in(status, stranger.account)
        made = factories.generation_in(status, me.account)
        Generation.objects.filter(pk=made.pk).update(
            created_at=NOW + timedelta(minutes=index), kind=Kind.EDIT if index % 2 else Kind.CREATE
        )
    return list(Generation.objects.filter(account=me.account).order_by("number"))


@pytest.mark.parametrize("status", list(Status))
def test_a_status_narrows_the_list(me: Caller, rows: list[Generation], status: Status) -> None:
    assert ids(me, status=status.value) == [row.pk for row in rows if row.status == status]


def test_a_type_and_a_model_narrow_the_list(me: Caller, rows: list[Generation]) -> None:
    assert ids(me, type="edit") == [rows[3].pk, rows[1].pk]
    assert ids(me, type="edit", status="failed") == [rows[3].pk]
    assert ids(me, model="zekron-image-1") == [row.pk for row in reversed(rows)]
    Generation.objects.filter(pk=rows[2].pk).update(model="another")
    assert ids(me, model="zekron-image-1") == [row.pk for row in reversed(rows) if row != rows[2]]


def test_metadata_narrows_the_list(me: Caller, rows: list[Generation]) -> None:
    for row, metadata in zip(rows, [{"order": "7", "é": ""}, {"order": "70"}, {"é": "7"}], strict=False):
        Generation.objects.filter(pk=row.pk).update(parameters={**row.parameters, "metadata": metadata})
    assert ids(me, **{"metadata.order": "7"}) == [rows[0].pk]
    assert ids(me, **{"metadata.é": "", "metadata.order": "7", "type": "create"}) == [rows[0].pk]
    assert ids(me, **{"metadata.é": "", "metadata.order": "70"}) == []


@pytest.mark.parametrize(
    "query",
    [
        "metadata.=7",
        f"metadata.{'x' * 65}=7",
        "metadata.a=%00",
        "metadata.a=1&metadata.a=1",
        "metadata.a=1&offset=1",
    ],
)
def test_metadata_that_no_request_could_have_is_refused(me: Caller, query: str) -> None:
    assert refusal(me.get(f"/v1/generations?{query}")) == (400, "invalid_parameter")


def test_since_includes_its_time_and_until_excludes_it(me: Caller, rows: list[Generation]) -> None:
    newest_first = [row.pk for row in reversed(rows)]
    assert ids(me, since="2026-01-01T12:01:00Z") == newest_first[:4]
    assert ids(me, until="2026-01-01T12:01:00Z") == newest_first[4:]
    assert ids(me, since="2026-01-01T12:01:00Z", until="2026-01-01T12:03:00Z") == newest_first[2:4]
    assert ids(me, since="2026-01-01T12:01:00Z", until="2026-01-01T12:01:00Z") == []
    assert ids(me, since="2026-01-01T12:01:00.000001Z") == newest_first[:3]


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T12:03:00+00:00",
        "2026-01-01T12:03:00Z",
        "2026-01-01T07:03:00-05:00",
        "2026-01-01T13:03:00+01:00",
        "2026-01-01T13:03:00+0100",
        "20260101T120300Z",
        "2026-01-01 12:03Z",
    ],
)
def test_a_time_may_have_any_offset_and_any_form_of_the_standard(
    me: Caller, rows: list[Generation], time: str
) -> None:
    assert ids(me, since=time) == [rows[4].pk, rows[3].pk]
    # A client that does not write a plus sign as %2B sends a space.
    assert [row["id"] for row in me.get(f"/v1/generations?since={time}").json()["data"]["generations"]] == [
        rows[4].pk,
        rows[3].pk,
    ]


def test_a_time_of_a_row_is_accepted_as_it_was_sent(me: Caller, rows: list[Generation]) -> None:
    sent = page(me)["generations"][1]["created_at"]
    assert ids(me, since=sent) == [rows[4].pk, rows[3].pk]


def test_before_continues_the_list_and_new_generations_move_no_page(
    me: Caller, rows: list[Generation]
) -> None:
    newest_first = [row.pk for row in reversed(rows)]
    first = page(me, limit=2)
    assert [row["id"] for row in first["generations"]] == newest_first[:2]
    factories.submit(me.account)
    second = page(me, limit=2, before=newest_first[1])
    assert [row["id"] for row in second["generations"]] == newest_first[2:4]
    assert second["pagination"] == {
        "total": 6,
        "limit": 2,
        "offset": 0,
        "has_more": True,
        "next_before": newest_first[3],
    }
    last = page(me, limit=2, before=newest_first[3])
    assert [row["id"] for row in last["generations"]] == newest_first[4:]
    assert last["pagination"] == {
        "total": 6,
        "limit": 2,
        "offset": 0,
        "has_more": False,
        "next_before": None,
    }


def test_a_filtered_page_says_how_to_continue_and_counts_nothing(me: Caller, rows: list[Generation]) -> None:
    first = page(me, type="edit", limit=1)
    expected = {"total": None, "limit": 1, "offset": 0, "has_more": True, "next_before": rows[3].pk}
    assert first["pagination"] == expected
    second = page(me, type="edit", limit=1, before=rows[3].pk)
    assert [row["id"] for row in second["generations"]] == [rows[1].pk]
    assert second["pagination"] == {**expected, "has_more": False, "next_before": None}


def test_a_page_of_a_rare_kind_may_be_empty_and_be_continued(
    me: Caller, rows: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_ROWS_PER_PAGE", 2)
    first = page(me, status="completed")
    assert first["generations"] == []
    assert (first["pagination"]["has_more"], first["pagination"]["next_before"]) == (True, rows[3].pk)
    assert ids(me, status="completed", before=rows[3].pk) == [rows[2].pk]


def test_the_rows_of_a_filtered_page_are_those_of_the_published_one(
    me: Caller, rows: list[Generation]
) -> None:
    published = page(me)["generations"]
    assert page(me, since="2000-01-01T00:00:00Z")["generations"] == published
    assert page(me, status="completed")["generations"] == [published[2]]


@pytest.mark.parametrize("query", ["", "?limit=2", "?offset=1", "?limit=1&offset=9", "?unknown=1&status_=x"])
def test_without_a_new_parameter_the_published_page_stays_as_it_is(
    me: Caller, rows: list[Generation], query: str
) -> None:
    pagination = me.get(f"/v1/generations{query}").json()["data"]["pagination"]
    assert list(pagination) == ["total", "limit", "offset", "has_more"]
    assert pagination["total"] == 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=done", f"Unknown status. {STATUSES}"),
        ("status=", f"Unknown status. {STATUSES}"),
        ("status=Completed", f"Unknown status. {STATUSES}"),
        ("status=%00", f"Unknown status. {STATUSES}"),
        ("type=video", "Unknown type. Allowed: create, edit."),
        ("model=x", "Unknown model. Allowed: zekron-image-1."),
        ("since=yesterday", "since must be an ISO 8601 time with an offset, such as 2026-11-27T12:00:00Z."),
        ("since=2026-01-01", "since must be an ISO 8601 time"),
        ("since=2026-01-01T12:00:00", "since must be an ISO 8601 time"),
        ("until=2026-01-01 12:00", "until must be an ISO 8601 time"),
        ("until=", "until must be an ISO 8601 time"),
        ("until=0001-01-01T00:00:00%2B14:00", "until must be an ISO 8601 time"),
        ("until=9999-12-31T23:59:59-14:00", "until must be an ISO 8601 time"),
        ("until=%ED%A0%80", "until must be an ISO 8601 time"),
        ("until=2026-01-01T12:00:00Z%00", "until must be an ISO 8601 time"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since must not be after until."),
        ("before=0", "before must be a whole number of at least 1."),
        ("before=x", "before must be a whole number of at least 1."),
        (f"before={'9' * 30}", "before must be the id of one of your generations."),
        ("before=1&offset=0", "offset and before cannot be combined. Send only before."),
        ("before=1&offset=20", "offset and before cannot be combined. Send only before."),
        ("status=failed&offset=20", "offset and status cannot be combined."),
        ("until=2026-01-01T12:00:00Z&offset=1", "offset and until cannot be combined."),
        ("status=failed&status=queued", "status was sent more than once. Send it once."),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(me: Caller, query: str, message: str) -> None:
    response = me.get(f"/v1/generations?{query}")
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(message)


def test_an_offset_of_zero_beside_a_filter_skips_nothing(me: Caller, rows: list[Generation]) -> None:
    assert ids(me, status="failed", offset=0) == [rows[3].pk]


def test_another_accounts_generation_is_no_cursor(me: Caller, rows: list[Generation]) -> None:
    foreign = Generation.objects.exclude(account=me.account).latest("pk")
    for name in (foreign.pk, foreign.pk + 1_000):
        response = ask(me, before=name)
        assert refusal(response) == (400, "invalid_parameter")
        assert response.json()["error"]["message"] == "before must be the id of one of your generations."


def test_an_extreme_time_is_answered(me: Caller, rows: list[Generation]) -> None:
    assert ids(me, until="0001-01-01T00:00:00Z") == []
    assert ids(me, since="9999-12-31T23:59:59Z") == []
    assert ids(me, since="2026-01-01T12:00:00+00:00:00.5", limit=1) == [rows[4].pk]
