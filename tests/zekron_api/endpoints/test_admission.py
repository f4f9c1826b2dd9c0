"""Nobody is let in to wait in vain: the queue and the workers' speed predict the wait."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from pytest_django import DjangoAssertNumQueries, Settings

from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.catalogue import DEFAULT_MODEL
from workers.lifecycle import admission, queries
from workers.messaging import worker_registry
from workers.models import Generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_hints")]


@pytest.fixture
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages go nowhere, and no worker shows itself."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


@pytest.fixture
def two_models(tmp_path: Path, settings: Settings) -> None:
    """Write a models file with more than one model, so that what is open is counted by model."""
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + own.replace("zekron-image-1", "slow"))


def test_without_a_live_worker_a_generate_is_refused_at_once_and_holds_nothing(me: Caller) -> None:
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert int(response["Retry-After"]) == admission.NO_WORKER_RETRY_SECONDS
    assert not Generation.objects.exists()
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


def test_while_the_only_workers_load_the_model_the_refusal_says_so_and_holds_nothing(me: Caller) -> None:
    loading = worker_registry.Details(models={}, loading=(DEFAULT_MODEL,))
    worker_registry.publish(worker_name="gpu@a", details=loading)
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert response.json()["error"]["message"] == (
        "The service is still loading this model. Nothing was charged. Try again later."
    )
    assert int(response["Retry-After"]) == admission.NO_WORKER_RETRY_SECONDS
    assert not Generation.objects.exists()
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


def test_the_refusal_tells_how_far_the_most_advanced_worker_has_loaded_and_when_it_will_have(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_060.0)
    for name, fraction in (("gpu@a", None), ("gpu@b", 0.4), ("gpu@c", 0.1)):
        loading = worker_registry.Details(
            models={}, loading=(DEFAULT_MODEL,), started_at=1_800_000_000.0, loading_fraction=fraction
        )
        worker_registry.publish(worker_name=name, details=loading)
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert "still loading this model (40 %)." in response.json()["error"]["message"]
    # Four tenths took a minute.
    assert response["Retry-After"] == "90"


@pytest.mark.parametrize(("gone_seconds", "fraction", "retry_after"), [(1.0, 0.99, 5), (900.0, 0.01, 600)])
def test_the_predicted_end_of_a_loading_is_bounded(
    gone_seconds: float, fraction: float, retry_after: int
) -> None:
    details = worker_registry.Details(
        models={}, started_at=time.time() - gone_seconds, loading_fraction=fraction
    )
    assert admission._predict_loaded(details) == retry_after


def test_a_worker_that_loads_is_no_capacity_beside_one_that_works(me: Caller, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 10
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=4.0)
    loading = worker_registry.Details(models={}, loading=(DEFAULT_MODEL,))
    for name in ("gpu@b", "gpu@c"):
        worker_registry.publish(worker_name=name, details=loading)
    for _ in range(5):
        factories.submit(me.account, now=datetime.now(UTC))
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert response["Retry-After"] == "10"


def test_a_worker_that_loads_another_model_does_not_change_the_refusal(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = worker_registry.Details(models={}, loading=("other",))
    worker_registry.publish(worker_name="gpu@a", details=loading)
    assert me.generate().json()["error"]["message"].startswith("The service is busy.")

    def away() -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(worker_registry, "list_loading", away)
    assert me.generate().json()["error"]["message"].startswith("The service is busy.")


@pytest.mark.parametrize(("seconds_per_image", "wait_seconds"), [(4.0, "10"), (4.02, "11")])
def test_a_queue_that_takes_longer_than_a_client_waits_refuses_with_the_time_until_it_does_not(
    me: Caller, settings: Settings, seconds_per_image: float, wait_seconds: str
) -> None:
    settings.SYNC_WAIT_SECONDS = 10
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=seconds_per_image)
    for _ in range(5):
        factories.submit(me.account, now=datetime.now(UTC))
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert response["Retry-After"] == wait_seconds
    assert Generation.objects.count() == 5


def test_the_last_of_several_images_must_start_while_its_client_waits(me: Caller, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 10
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=4.0)
    for _ in range(2):
        factories.submit(me.account, now=datetime.now(UTC))
    response = me.generate(n=3)
    assert (*refusal(response), response["Retry-After"]) == (503, "service_busy", "6")


@pytest.mark.parametrize(
    ("speeds", "open_count", "is_let_in"),
    [
        ([4.0], 25, True),
        ([4.0], 26, False),
        ([4.0, 4.0], 50, True),
        ([4.0, 4.0], 51, False),
        ([1.0, 4.0], 125, True),
        ([1.0, 4.0], 126, False),
        ([None], 20, True),
        ([None], 21, False),
    ],
)
def test_the_predicted_wait_is_what_is_open_over_the_speed_of_all_workers(
    monkeypatch: pytest.MonkeyPatch, speeds: list[Any], open_count: int, is_let_in: bool
) -> None:
    for number, seconds in enumerate(speeds):
        worker_registry.publish(worker_name=f"gpu@{number}", seconds_per_image=seconds)
    monkeypatch.setattr("workers.lifecycle.queries.count_open", lambda *, most, model: min(most, open_count))
    if is_let_in:
        admission.refuse_if_too_long(model_name=DEFAULT_MODEL, limit_seconds=100)
    else:
        with pytest.raises(admission.QueueTooLong):
            admission.refuse_if_too_long(model_name=DEFAULT_MODEL, limit_seconds=100)


def _line(**seconds_by_model: float | None) -> worker_registry.Details:
    """Return a worker's details with these models."""
    return worker_registry.Details(models=seconds_by_model)


@pytest.mark.parametrize(
    ("model", "is_let_in"), [("fast", True), ("slow", False), ("both", False), ("nobody", False)]
)
def test_only_workers_that_have_the_model_count_and_all_that_stands_in_their_line(
    me: Caller, two_models: None, model: str, is_let_in: bool
) -> None:
    worker_registry.publish(worker_name="gpu@fast", details=_line(fast=1.0))
    worker_registry.publish(worker_name="gpu@slow", details=_line(slow=30.0, both=1.0))
    for _ in range(4):
        factories.submit(me.account, now=datetime.now(UTC), model="slow")
    if is_let_in:
        admission.refuse_if_too_long(model_name=model, limit_seconds=100)
    else:
        with pytest.raises(admission.QueueTooLong) as refusal:
            admission.refuse_if_too_long(model_name=model, limit_seconds=100)
        expected = admission.NO_WORKER_RETRY_SECONDS if model == "nobody" else 20
        assert refusal.value.wait_seconds == expected


def test_of_a_model_that_a_worker_has_not_made_yet_a_first_guess_counts(me: Caller, two_models: None) -> None:
    worker_registry.publish(worker_name="gpu@a", details=_line(slow=None))
    for _ in range(20):
        factories.submit(me.account, now=datetime.now(UTC), model="slow")
    admission.refuse_if_too_long(model_name="slow", limit_seconds=100)
    with pytest.raises(admission.QueueTooLong):
        admission.refuse_if_too_long(model_name="slow", limit_seconds=99)


def test_what_is_open_is_counted_no_further_than_asked(
    me: Caller, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        factories.submit(me.account)
    with django_assert_num_queries(1):
        assert queries.count_open(most=3) == 3
    assert queries.count_open(most=9) == 5


def test_a_worker_that_is_silent_or_has_left_does_not_count(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=2.5)
    assert worker_registry.list_alive() == [worker_registry.Worker("gpu@a", 2.5)]
    worker_registry.remove(worker_name="gpu@a")
    assert worker_registry.list_alive() == []
    worker_registry.publish(worker_name="gpu@a")
    assert worker_registry.list_alive() == [worker_registry.Worker("gpu@a", None)]
    monkeypatch.setattr(worker_registry, "MAX_SILENCE_SECONDS", -1)
    assert worker_registry.list_alive() == []


def test_without_redis_nothing_can_be_predicted_and_requests_are_let_in(
    me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise redis.ConnectionError("away")

    settings.SYNC_WAIT_SECONDS = 1
    monkeypatch.setattr(worker_registry, "list_alive", away)
    assert refusal(me.generate()) == (503, "service_busy")
    assert Generation.objects.get().status == "cancelled"
