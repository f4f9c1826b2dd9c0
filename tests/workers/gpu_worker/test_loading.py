"""A real worker process that takes long to load: it is seen as one that loads, and its end is seen too."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import factories, processes
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
# It loads until a file tells how that ends.
ADAPTER = """
import pathlib, time
from tests.workers.scripted_engine import Obedient
from workers.engine import loading_progress
from workers.engine.interface import EngineError

def load(*, model, device):
    loading_progress.expect(loading_progress.WEIGHTS, 10)
    loading_progress.advance(loading_progress.WEIGHTS, 4)
    told = pathlib.Path({told!r})
    while not told.exists():
        time.sleep(0.05)
    if told.read_text() == "fail":
        raise EngineError("the hub is away")
    return Obedient()
"""
WORKER = (
    "-m celery -A zekron_api worker -P threads -c 1 -Q gpu -n gpu@loads --without-gossip --without-mingle"
)


@pytest.fixture(autouse=True)
def nobody_there() -> None:
    connection().flushdb()


@contextmanager
def loading_worker(folder: Path, objects_folder: Path) -> Iterator["tuple[subprocess.Popen[bytes], Path]"]:
    """Run a worker until it is seen loading. Yield it, and the file that tells it how to go on."""
    told = folder / "told"
    models = folder / "models.toml"
    models.write_text((processes.ROOT / "models.toml").read_text().replace('"flux2-klein"', '"slow.adapter"'))
    (folder / "slow").mkdir()
    (folder / "slow" / "adapter.py").write_text(ADAPTER.format(told=str(told)))
    with processes.started(
        WORKER.split(),
        log=folder / "worker.log",
        objects_folder=objects_folder,
        MODELS_FILE=str(models),
        PYTHONPATH=str(folder),
    ) as process:
        processes.wait_until(worker_registry.list_loading)
        yield process, told


def test_a_worker_is_loading_until_it_has_loaded_and_then_works(tmp_path: Path, objects_folder: Path) -> None:
    with loading_worker(tmp_path, objects_folder) as (_, told):
        [worker] = worker_registry.list_loading()
        assert (worker.name, worker.details.loading) == ("gpu@loads", ("zekron-image-1",))
        assert worker.details.started_at > 0
        processes.wait_until(_shows_four_tenths)
        assert "loading: weights, 40 %" in (tmp_path / "worker.log").read_text()
        assert worker_registry.list_alive() == []
        told.write_text("go on")
        processes.wait_until(worker_registry.list_alive)
        assert worker_registry.list_loading() == []
        [worker] = worker_registry.list_alive()
        assert worker.makes("zekron-image-1")
        assert worker.details.queues == ["gpu"]
        generation = factories.submit(factories.account(), now=None)
        processes.wait_until(_is_completed(generation))


def test_a_worker_that_cannot_load_leaves_the_registry_before_it_ends(
    tmp_path: Path, objects_folder: Path
) -> None:
    with loading_worker(tmp_path, objects_folder) as (process, told):
        told.write_text("fail")
        assert process.wait(timeout=60) == 75
        assert connection().zcard("zekron:workers:seen") == 0
    assert "zekron: the hub is away" in (tmp_path / "worker.log").read_text()


def test_a_worker_that_is_killed_while_it_loads_is_gone_once_it_has_been_silent(
    tmp_path: Path, objects_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loading_worker(tmp_path, objects_folder) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        seen_at: Any = connection().zscore("zekron:workers:seen", "gpu@loads")
        for silent_seconds, count in ((14, 1), (16, 0)):
            monkeypatch.setattr("time.time", lambda: seen_at + silent_seconds)  # noqa: B023 (called within)
            assert len(worker_registry.list_loading()) == count


def _shows_four_tenths() -> bool:
    [worker] = worker_registry.list_loading()
    return (worker.details.loading_stage, worker.details.loading_fraction) == ("weights", 0.4)


def _is_completed(generation: Generation) -> Callable[[], bool]:
    return lambda: Generation.objects.filter(pk=generation.pk, status=Status.COMPLETED).exists()
