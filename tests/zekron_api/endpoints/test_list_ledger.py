"""GET /v1/ledger: every movement, by place, time and kind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import factories
from tests.assertions import refusal
from tests.workers.usage.histories import History
from tests.zekron_api.callers import Caller
from workers.models import Status
from workers.usage import entries

pytestmark = pytest.mark.django_db

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def history(me: Caller) -> History:
    return History(me.account, opened_at=NINE)


def ledger(me: Caller, query: str = "") -> Any:
    response = me.get(f"/v1/ledger?{query}")
    assert response.status_code == 200, response.content
    return response.json()["data"]


def walk(me: Caller, query: str) -> list[int]:
    """Return the places of all entries, page by page."""
    places, before = [], ""
    while True:
        page = ledger(me, query + before)
        places += [entry["entry"] for entry in page["entries"]]
        if not page["pagination"]["has_more"]:
            assert page["pagination"]["next_before"] is None
            return places
        before = f"&before={page['pagination']['next_before']}"


def test_an_entry_has_its_amount_the_balance_after_it_and_its_generation(
    me: Caller, history: History
) -> None:
    made = history.end(NINE + 10 * MINUTE)
    history.refund(NINE + 20 * MINUTE, 500_000)
    history.write_times()
    data = ledger(me)
    assert data["pagination"] == {"limit": 20, "has_more": False, "next_before": None}
    refund, settle, hold, credit = data["entries"]
    assert refund == {
        "entry": 4,
        "kind": "refund",
        "amount": "0.5000",
        "balance": "9.4733",
        "reserved": "0.0000",
        "generation_id": None,
        "created_at": "2026-03-01T09:20:00+00:00",
    }
    assert (settle["kind"], settle["amount"], settle["generation_id"]) == ("settle", "0.0267", made.pk)
    assert (hold["kind"], hold["reserved"], hold["generation_id"]) == ("hold", "0.0267", made.pk)
    assert (credit["kind"], credit["balance"], credit["generation_id"]) == ("credit", "10.0000", None)


def test_pages_follow_each_other_without_a_gap(me: Caller, history: History) -> None:
    for minutes in range(4):
        history.end(NINE + minutes * MINUTE)
    assert walk(me, "limit=4") == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert walk(me, "limit=3") == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_page_of_a_kind_looks_at_a_bounded_number_of_entries(
    me: Caller, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in range(4):
        history.end(NINE + minutes * MINUTE, status=Status.FAILED if minutes else Status.COMPLETED)
    monkeypatch.setattr(entries, "MAX_ENTRIES_PER_PAGE", 3)
    assert walk(me, "kind=settle") == [3]
    assert walk(me, "kind=release&limit=2") == [9, 7, 5]
    assert ledger(me, "kind=settle")["entries"] == []
    # The index has the entries of people, so they need one page.
    assert [each["entry"] for each in ledger(me, "kind=credit")["entries"]] == [1]


def test_a_range_has_the_entries_of_its_times(me: Caller, history: History) -> None:
    for hours in range(4):
        history.end(NINE + hours * HOUR + 30 * MINUTE)
    history.top_up(NINE + 5 * HOUR)
    history.write_times()
    query = "from=2026-03-01T10:00:00Z&to=2026-03-01T12:00:00Z"
    assert walk(me, query) == [7, 6, 5, 4]
    assert walk(me, f"{query}&limit=1") == [7, 6, 5, 4]
    assert walk(me, f"{query}&kind=hold") == [6, 4]
    assert walk(me, f"{query}&kind=credit") == []
    assert walk(me, "from=2026-03-01T14:00:00Z&kind=credit") == [10]
    assert walk(me, "to=2026-03-01T09:30:00Z") == [2, 1]
    assert walk(me, "from=2026-03-01T09:30:00Z&to=2026-03-01T09:30:01Z") == [3]
    assert walk(me, "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z") == [*range(10, 0, -1)]


def test_entries_that_waited_for_the_account_are_found_by_their_times(me: Caller, history: History) -> None:
    # The later statement got the lock first, so that the earlier time has the later place.
    for seconds in (0, 20, 10, 40, 30):
        history.top_up(NINE + HOUR + timedelta(seconds=seconds))
    history.write_times()
    assert walk(me, "from=2026-03-01T10:00:10Z&to=2026-03-01T10:00:40Z") == [6, 4, 3]
    assert walk(me, "from=2026-03-01T10:00:30Z&to=2026-03-01T10:00:31Z") == [6]
    assert walk(me, "from=2026-03-01T10:00:15Z") == [6, 5, 3]
    assert walk(me, "to=2026-03-01T10:00:20Z") == [4, 2, 1]
    for seconds in (50, 60):
        history.top_up(NINE + HOUR + timedelta(seconds=seconds))
    history.write_times()
    assert walk(me, "to=2026-03-01T10:00:35Z") == [6, 4, 3, 2, 1]


def test_another_accounts_entries_are_not_mine(me: Caller, stranger: Caller) -> None:
    factories.generation_in(Status.COMPLETED, me.account)
    assert [each["kind"] for each in ledger(stranger)["entries"]] == ["credit"]
    assert walk(stranger, "before=100&kind=settle") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=yesterday", "from must be an ISO 8601 time with an offset"),
        ("from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from must be before to."),
        ("kind=gift", "Unknown kind. Allowed: credit, refund, hold, settle, release."),
        ("before=0", "before must be a whole number of at least 1."),
        ("limit=0", "limit must be a whole number of at least 1."),
        ("kind=hold&kind=hold", "kind was sent more than once. Send it once."),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(me: Caller, query: str, message: str) -> None:
    response = me.get(f"/v1/ledger?{query}")
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(message)
