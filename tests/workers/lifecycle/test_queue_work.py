"""Predicted work of each model: what is open and what was refused, times the seconds of an image."""

from pathlib import Path

import pytest
from pytest_django import Settings

from tests import factories
from workers.lifecycle import queue_work
from workers.lifecycle.admission import FIRST_GUESS_SECONDS
from workers.messaging import counters, demand, worker_registry
from workers.messaging.redis_client import connection
from workers.messaging.worker_registry import Details
from workers.models import Status

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "zekron-image-1"


@pytest.fixture(autouse=True)
def two_models(tmp_path: Path, settings: Settings) -> None:
    """Write a models file with a second model, and forget all workers."""
    connection().flushdb()
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + own.replace(MODEL, "slow"))


def test_queued_and_running_generations_of_each_model_count() -> None:
    owner = factories.account()
    worker_registry.publish(worker_name="gpu@a", details=Details(models={MODEL: 2.0, "slow": 30.0}))
    factories.submit(owner, model="slow")
    factories.submit(owner)
    for status in Status:
        factories.generation_in(status, owner)
    # One was submitted, one is queued and one runs.
    assert queue_work.predict_seconds() == {MODEL: 6.0, "slow": 30.0}


def test_images_that_were_refused_without_a_worker_count() -> None:
    demand.note(model_name="slow", image_count=3)
    assert queue_work.predict_seconds() == {MODEL: 0.0, "slow": 3 * FIRST_GUESS_SECONDS}


def test_the_speed_is_the_mean_of_the_live_workers_and_then_that_of_the_last_one() -> None:
    demand.note(model_name="slow", image_count=1)
    for name, seconds in (("gpu@a", 10.0), ("gpu@b", 20.0), ("gpu@c", None)):
        worker_registry.publish(worker_name=name, details=Details(models={"slow": seconds}))
    assert queue_work.predict_seconds()["slow"] == 15.0
    for name in ("gpu@a", "gpu@b", "gpu@c"):
        worker_registry.remove(worker_name=name)
    assert queue_work.predict_seconds()["slow"] == 20.0


def test_a_long_queue_is_counted_no_further_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    for _ in range(3):
        factories.submit(owner)
    monkeypatch.setattr(
        queue_work, "_OPEN_BY_MODEL", queue_work._OPEN_BY_MODEL.replace(str(counters.MAX_COUNTED_ROWS), "2")
    )
    assert queue_work.predict_seconds()[MODEL] == 2 * FIRST_GUESS_SECONDS
