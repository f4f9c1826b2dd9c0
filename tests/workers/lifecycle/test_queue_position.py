"""Positions in the queue: counted by turn within a model, bounded, and read once a second however many ask."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from billing.models import Account
from tests import factories
from workers.lifecycle import admission, generations, queue_position, queue_readings
from workers.lifecycle.queue_position import Place
from workers.messaging import redis_client, worker_registry
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without a worker and without a cached view, and send no hints."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
    monkeypatch.setattr(queue_position, "_seen", {})
    # Each look at this clock is ten seconds after the last one, so every reading is a new one.
    monkeypatch.setattr(
        admission, "_readings", queue_readings.QueueReadings(clock=itertools.count(step=10).__next__)
    )
    broker = redis_client.connection()
    broker.flushdb()
    yield
    broker.flushdb()


@pytest.fixture
def owner() -> Account:
    """Return an account with money."""
    return factories.account()


def queue(owner: Account, count: int, *, model: str = "zekron-image-1") -> list[Generation]:
    """Submit generations with one second between their turns."""
    made = [factories.submit(owner, model=model) for _ in range(count)]
    for number, generation in enumerate(made):
        generation.turn_at = NOW + timedelta(seconds=number)
        generation.save(update_fields=["turn_at"])
    return made


def place(generation: Generation, at: float = 0.0) -> Place:
    return queue_position.find_place(
        model=generation.model, turn_at=generation.turn_at, generation_id=generation.pk, clock=lambda: at
    )


def test_the_position_is_the_number_of_earlier_turns_and_the_first_is_0(owner: Account) -> None:
    made = queue(owner, 3)
    assert [place(generation).position for generation in made] == [0, 1, 2]


def test_of_equal_turns_the_older_row_is_first_as_for_the_claim(owner: Account) -> None:
    first, second = queue(owner, 2)
    Generation.objects.update(turn_at=NOW)
    second.turn_at = first.turn_at = NOW
    assert [place(first).position, place(second).position] == [0, 1]
    assert generations.claim_next(now=factories.NOW).pk == first.pk


def test_another_models_queue_does_not_count_and_neither_does_what_runs_or_has_ended(
    owner: Account, settings: Settings, tmp_path: Path
) -> None:
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + own.replace("zekron-image-1", "other"))
    queue(owner, 2, model="other")
    running, cancelled, last = queue(owner, 3)
    factories.claim(generation_id=running.pk, now=factories.NOW)
    generations.cancel(generation=cancelled, error_type="x", error_code="X", now=factories.NOW)
    assert place(last).position == 0


def test_positions_are_counted_up_to_a_bound_and_unknown_above(
    owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_position, "MAX_POSITION", 2)
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=10.0)
    made = queue(owner, 5)
    assert [place(generation) for generation in made] == [(0, 0), (1, 10), (2, 20), (None, 50), (None, 50)]


def test_without_a_worker_the_eta_is_unknown_and_without_redis_too(
    owner: Account, settings: Settings
) -> None:
    [only] = queue(owner, 1)
    assert place(only) == (0, None)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert place(only, at=1.0) == (0, None)


def test_the_eta_is_the_predictors_for_what_runs_and_comes_first(owner: Account) -> None:
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=2.5)
    made = queue(owner, 3)
    # A running one is ahead of all. Its time is not known further, so it counts as one image.
    factories.claim(generation_id=made[0].pk, now=factories.NOW)
    assert [place(generation) for generation in made[1:]] == [(0, 3), (1, 5)]
    # For a generation that would come last, this is the number that decides over 503.
    assert admission.predict_wait_seconds(model_name="zekron-image-1", limit_seconds=100) == 7.5


def test_the_generations_of_the_workers_other_models_take_their_time(
    owner: Account, settings: Settings, tmp_path: Path
) -> None:
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + own.replace("zekron-image-1", "other"))
    details = worker_registry.Details(models={"zekron-image-1": 1.0, "other": 30.0})
    worker_registry.publish(worker_name="gpu@a", details=details)
    queue(owner, 1, model="other")
    first, second = queue(owner, 2)
    assert [place(first), place(second)] == [(0, 30), (1, 31)]


def test_a_queue_is_read_once_a_second_however_many_ask(owner: Account) -> None:
    made = queue(owner, 3)
    with CaptureQueriesContext(connection) as sent:
        for at in (0.0, 0.5, 0.99):
            assert [place(generation, at).position for generation in made] == [0, 1, 2]
    assert len(sent) == 2
    # A generation that the cached view does not contain finds its place in it.
    late = factories.submit(owner)
    late.turn_at = NOW + timedelta(hours=1)
    Generation.objects.filter(pk=late.pk).update(turn_at=late.turn_at)
    assert place(late, 0.99).position == 3
    Generation.objects.filter(pk=made[0].pk).update(status=Status.CANCELLED, ended_at=factories.NOW)
    assert place(late, 0.99).position == 3
    assert place(late, 1.0).position == 2
