"""The state of a watched generation: its version grows with every transition, and one query reads many."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import factories
from tests.factories import ERROR
from workers.lifecycle import generations, queue_position, recovery, watching
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)

Transition = Callable[[Generation, datetime], object]
FROM_QUEUED: list[Transition] = [
    lambda row, now: factories.claim(generation_id=row.pk, now=now),
    lambda row, now: generations.cancel(generation=row, error_type="x", error_code="X", now=now),
]
FROM_RUNNING: list[Transition] = [
    lambda row, now: factories.finish(row, now=now),
    lambda row, now: generations.fail(generation=row, **ERROR, now=now),
    lambda row, now: generations.retry(generation=row, backoff_seconds=8, detail="", now=now),
    lambda row, now: generations.put_back(lease_tokens=[row.lease_token], now=now),
    lambda row, now: recovery.rescue(limit=9, silence_seconds=-1, now=now),
]


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere, and nothing of the queue is known."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
    monkeypatch.setattr(queue_position, "_seen", {})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 10, 9_000_000])), max_size=9))
def test_the_version_grows_with_every_transition(choices: list[tuple[int, int]]) -> None:
    now = factories.NOW
    row = factories.submit(factories.account(), now=now)
    versions = [watching.version_of(row)]
    for choice, microseconds in choices:
        if not row.is_open or row.attempt_count == 3:
            break
        possible = FROM_QUEUED if row.status == Status.QUEUED else FROM_RUNNING
        now += timedelta(microseconds=microseconds)
        before = row.status
        try:
            possible[choice % len(possible)](row, now)
        except generations.NotClaimable:
            continue
        row.refresh_from_db()
        assert row.status != before
        versions.append(watching.version_of(row))
    assert versions == sorted(set(versions))


def test_one_query_reads_the_rows_and_two_the_queue_of_a_model() -> None:
    owner = factories.account()
    rows = [factories.generation_in(status, owner) for status in Status for _ in range(3)]
    with CaptureQueriesContext(connection) as sent:
        states = watching.read_states(generation_ids=[row.pk for row in rows])
    assert len(sent) == 3
    assert {state.generation_id: state for state in states} == {
        row.pk: watching.state_of(row) for row in rows
    }
    for state in states:
        assert (state.place is not None) == (state.status == Status.QUEUED)
        assert state.is_open == (state.status in {Status.QUEUED, Status.RUNNING})


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", " 1", "\u0661", "9" * 19, "9" * 5000, "1\0"])
def test_a_text_that_is_no_id_finds_nothing(text: str) -> None:
    with pytest.raises(Generation.DoesNotExist):
        watching.find(account_id=1, generation_id=text)


def test_a_generation_is_found_by_its_account_alone() -> None:
    row, stranger = factories.submit(factories.account()), factories.account()
    assert watching.find(account_id=row.account_id, generation_id=str(row.pk)) == row
    with pytest.raises(Generation.DoesNotExist):
        watching.find(account_id=stranger.pk, generation_id=str(row.pk))
