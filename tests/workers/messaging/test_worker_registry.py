from pathlib import Path

import orjson
import pytest
from pytest_django import Settings

from workers.gpu_worker import build_id
from workers.gpu_worker.utilisation import WINDOW_SECONDS, Utilisation
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection
from workers.messaging.worker_registry import Details, Worker

DETAILS = Details(
    models={"zekron-image-1": 1.5, "other": None},
    queues=["gpu", "large"],
    device="NVIDIA H200 (cuda:1)",
    busy_fraction=0.97,
    attempt_count=3,
    claimed_at=1_712_505_600.25,
    code="0123abcd",
)


@pytest.fixture(autouse=True)
def nobody_there() -> None:
    connection().flushdb()


def test_a_worker_is_seen_with_all_that_it_says_of_itself() -> None:
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=1.5, details=DETAILS)
    worker_registry.publish(worker_name="gpu@b")
    assert sorted(worker_registry.list_alive()) == [Worker("gpu@a", 1.5, DETAILS), Worker("gpu@b")]
    worker_registry.remove(worker_name="gpu@a")
    assert worker_registry.list_alive() == [Worker("gpu@b")]
    worker_registry.publish(worker_name="gpu@a")
    assert Worker("gpu@a") in worker_registry.list_alive()


def test_a_worker_is_alive_for_fifteen_seconds_after_its_last_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    worker_registry.publish(worker_name="gpu@a")
    clock[0] += 10
    worker_registry.publish(worker_name="gpu@b")
    clock[0] += 4.9
    assert [worker.name for worker in worker_registry.list_alive()] == ["gpu@a", "gpu@b"]
    clock[0] += 0.2
    assert [worker.name for worker in worker_registry.list_alive()] == ["gpu@b"]


def test_a_worker_makes_the_models_it_has_and_one_that_tells_none_makes_all() -> None:
    worker = Worker("gpu@a", 9.0, DETAILS)
    assert [worker.makes(name) for name in ("zekron-image-1", "other", "third")] == [True, True, False]
    assert (worker.seconds_of("zekron-image-1"), worker.seconds_of("other")) == (1.5, None)
    assert Worker("gpu@b", 9.0).makes("third")
    assert Worker("gpu@b", 9.0).seconds_of("third") == 9.0


def test_a_worker_of_another_release_may_tell_more_or_less() -> None:
    worker_registry.publish(worker_name="gpu@a")
    told = orjson.dumps({"models": {"third": 2.0}, "mood": "good"})
    connection().hset("zekron:workers:details", "gpu@a", told)
    assert worker_registry.list_alive() == [Worker("gpu@a", None, Details(models={"third": 2.0}))]


def test_a_device_is_as_busy_as_it_was_in_the_last_minute() -> None:
    now, busy = [100.0], [40.0]
    busyness = Utilisation(lambda: busy[0], clock=lambda: now[0])
    assert busyness.fraction() == 0.0
    for _ in range(6):
        now[0] += 5
        busy[0] += 2
        last = busyness.fraction()
    assert last == pytest.approx(12 / 30)
    for _ in range(int(WINDOW_SECONDS / 5)):
        now[0] += 5
        last = busyness.fraction()
    assert last == 0.0
    now[0] += 5
    busy[0] += 90
    assert busyness.fraction() == 1.0


def test_the_code_is_told_by_eight_digits_that_every_process_of_it_tells() -> None:
    first = build_id.digest()
    build_id.digest.cache_clear()
    assert build_id.digest() == first
    assert len(first) == 8
    assert int(first, 16) >= 0


def test_other_code_has_other_digits(tmp_path: Path, settings: Settings) -> None:
    first = build_id.digest()
    settings.BASE_DIR = tmp_path
    build_id.digest.cache_clear()
    try:
        (tmp_path / "workers").mkdir()
        (tmp_path / "workers" / "a.py").write_text("a = 1")
        second = build_id.digest()
    finally:
        build_id.digest.cache_clear()
    assert second != first


def test_a_worker_that_loads_is_listed_apart_and_makes_nothing_until_it_has_loaded() -> None:
    loading = Details(models={}, queues=[], loading=("zekron-image-1",), started_at=1_712_505_600.5)
    worker_registry.publish(worker_name="gpu@a", details=loading)
    worker_registry.publish(worker_name="gpu@b", details=DETAILS)
    assert worker_registry.list_loading() == [Worker("gpu@a", None, loading)]
    assert worker_registry.list_alive() == [Worker("gpu@b", None, DETAILS)]
    assert not Worker("gpu@a", None, loading).makes("zekron-image-1")
    worker_registry.publish(worker_name="gpu@a", details=DETAILS)
    assert worker_registry.list_loading() == []
    assert sorted(worker.name for worker in worker_registry.list_alive()) == ["gpu@a", "gpu@b"]


def test_a_worker_that_dies_while_it_loads_is_gone_after_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    worker_registry.publish(worker_name="gpu@a", details=Details(models={}, loading=("zekron-image-1",)))
    clock[0] += 14.9
    assert [worker.name for worker in worker_registry.list_loading()] == ["gpu@a"]
    clock[0] += 0.2
    assert worker_registry.list_loading() == []


def test_for_a_release_that_knows_no_loading_such_a_worker_has_no_model_and_no_queue() -> None:
    worker_registry.publish(worker_name="gpu@a", details=Details(models={}, loading=("zekron-image-1",)))
    worker_registry.publish(worker_name="gpu@b", details=DETAILS)
    told = {name: orjson.loads(text) for name, text in connection().hgetall("zekron:workers:details").items()}
    assert (told[b"gpu@a"]["models"], told[b"gpu@a"]["queues"]) == ({}, [])
    assert told[b"gpu@a"]["loading"] == ["zekron-image-1"]
