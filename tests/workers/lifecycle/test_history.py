"""Pages of the history by filters and a cursor: each matching generation once, in one order, whatever the page size."""

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing import keys
from billing.models import Account
from tests import factories
from tests.factories import NOW
from workers.lifecycle import history
from workers.lifecycle.history import Filters
from workers.models import Generation, Kind, Status

pytestmark = pytest.mark.django_db(transaction=True)
# Minutes after NOW. The database may give an earlier time to a later number, and the same time to several.
MINUTES = [0, 2, 1, 3, 3, 3, 5, 4, 6, 8, 7, 9, 9, 10, 12]
TIMES = [None, *(NOW + timedelta(minutes=minute) for minute in (0, 3, 8, 20))]
CONDITIONS: dict[str, tuple[Any, ...]] = {
    "status": (None, *Status),
    "kind": (None, *Kind),
    "model": (None, "zekron-image-1", "another"),
}


@pytest.fixture
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


@pytest.fixture
def rows(no_hints: None) -> list[Generation]:
    """Make generations of every kind, in the order of their numbers, with those of a stranger among them."""
    owner, stranger = factories.account(), factories.account()
    for index, minute in enumerate(MINUTES):
        factories.submit(stranger)
        made = factories.generation_in(list(Status)[index % len(Status)], owner)
        Generation.objects.filter(pk=made.pk).update(
            created_at=NOW + timedelta(minutes=minute),
            kind=Kind.EDIT if index % 3 else Kind.CREATE,
            model="another" if index % 4 == 0 else "zekron-image-1",
        )
    return list(Generation.objects.filter(account=owner).order_by("number"))


def walk(owner: Account, filters: Filters, limit: int) -> list[int]:
    """Return the ids of all pages, each found from the one before it."""
    found: list[int] = []
    before = None
    for _ in range(100):
        page = history.find_page(
            account_id=owner.pk, total=len(MINUTES), filters=filters, before=before, limit=limit
        )
        assert len(page.generations) <= limit
        found += [row.pk for row in page.generations]
        if page.next_before is None:
            return found
        before = history.find_position(account_id=owner.pk, generation_id=page.next_before)
    raise AssertionError("the pages do not end")


def expected(rows: list[Generation], filters: Filters) -> list[int]:
    """Return the ids of those that match, newest first."""
    matching = [row for row in rows if matches(row, filters)]
    if filters.since or filters.until:
        matching.sort(key=lambda row: (row.created_at, row.number))
    return [row.pk for row in reversed(matching)]


def matches(row: Generation, filters: Filters) -> bool:
    in_time = (filters.since or NOW) <= row.created_at < (filters.until or NOW + timedelta(days=1))
    return in_time and all(
        wanted is None or getattr(row, name) == wanted
        for name, wanted in (("status", filters.status), ("kind", filters.kind), ("model", filters.model))
    )


def test_the_pages_of_any_combination_of_filters_have_each_matching_generation_once(
    rows: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [(since, until) for since in TIMES for until in TIMES if not (since and until) or since <= until]
    every = list(itertools.product(*CONDITIONS.values(), times))
    # A few of each and the same ones in each run, because all of them take minutes.
    chance = random.Random(1)
    for status, kind, model, (since, until) in chance.sample(every, 60):
        filters = Filters(status=status, kind=kind, model=model, since=since, until=until)
        monkeypatch.setattr(history, "MAX_ROWS_PER_PAGE", chance.choice([1, 4, 15, 5_000]))
        limit = chance.choice([2, 100])
        assert walk(rows[0].account, filters, limit) == expected(rows, filters), (filters, limit)


def test_a_generation_of_another_account_has_no_place(rows: list[Generation]) -> None:
    foreign = Generation.objects.exclude(account=rows[0].account).earliest("pk")
    for generation_id in (foreign.pk, foreign.pk + 10_000):
        with pytest.raises(Generation.DoesNotExist):
            history.find_position(account_id=rows[0].account_id, generation_id=generation_id)


def test_a_generation_that_is_accepted_meanwhile_moves_no_page(rows: list[Generation]) -> None:
    owner, filters = rows[0].account, Filters(kind=Kind.EDIT)
    first = history.find_page(account_id=owner.pk, total=15, filters=filters, before=None, limit=3)
    factories.submit(owner)
    assert first.next_before is not None
    before = history.find_position(account_id=owner.pk, generation_id=first.next_before)
    second = history.find_page(account_id=owner.pk, total=16, filters=filters, before=before, limit=3)
    ids = [row.pk for row in (*first.generations, *second.generations)]
    assert ids == expected(rows, filters)[:6]


def test_the_pages_of_a_person_or_of_a_key_have_each_of_theirs_once(
    rows: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = rows[0].account
    person = User.objects.create_user("ada")
    key, _ = keys.issue(account_id=owner.pk)
    theirs = [row.pk for row in rows[::2]]
    Generation.objects.filter(pk__in=theirs).update(person=person)
    Generation.objects.filter(account=owner).exclude(pk__in=theirs).update(api_key=key)
    monkeypatch.setattr(history, "MAX_ROWS_PER_PAGE", 4)
    assert walk(owner, Filters(person_id=person.pk), 2) == theirs[::-1]
    assert walk(owner, Filters(api_key_id=key.pk), 2) == [row.pk for row in rows[1::2]][::-1]
    # A page looks at few rows, also for a person who has none.
    nothing = history.find_page(
        account_id=owner.pk,
        total=len(MINUTES),
        filters=Filters(person_id=person.pk + 1),
        before=None,
        limit=2,
    )
    assert (nothing.generations, nothing.next_before is None) == ([], False)


def test_no_condition_is_no_filter() -> None:
    assert not Filters()
    assert Filters(status=Status.FAILED)
    assert Filters(model="x")
    assert Filters(since=NOW)
    assert Filters(person_id=1)
