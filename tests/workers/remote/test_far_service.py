"""A worker whose remote server is this service: real processes, from a queued generation to its picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import factories, processes
from tests.images import halves, saved
from tests.processes import ROOT, Server
from workers.messaging import worker_registry
from workers.models import Generation, Kind, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
ENTRY = """
[far]
adapter = "remote"
weights = "zekron/far"
licence = "Apache-2.0"
batch_limit = 8
queue = "far"
max_n = 4
price = {{base = "0.1", per_megapixel = "0", per_source_image = "0", least = "0.1", most = "0.1"}}
options = {{base_url = "{url}/v1", model = "zekron-image-1", api_key = "FAR_KEY"}}
"""
WORKER = "-m celery -A zekron_api worker -P threads -c 8 -Q {queue} -n {queue}@far --without-gossip --without-mingle"


@pytest.fixture
def far(tmp_path: Path, objects_folder: Path) -> Iterator[Server]:
    """Run the far service, with a worker of its own."""
    models = processes.scripted_models(tmp_path)
    with processes.running(
        folder=tmp_path,
        objects_folder=objects_folder,
        others={"gpu": WORKER.format(queue="gpu").split()},
        MODELS_FILE=str(models),
    ) as running:
        yield processes.ready(running.url)


@pytest.fixture
def near(tmp_path: Path, objects_folder: Path, far: Server, settings: Any) -> Iterator[Any]:
    """Run the worker whose device is the far service."""
    models = tmp_path / "near.toml"
    models.write_text((ROOT / "models.toml").read_text() + ENTRY.format(url=far.url))
    # The price that completes a generation comes from the file of this process's settings.
    settings.MODELS_FILE = models
    with processes.started(
        WORKER.format(queue="far").split(),
        log=tmp_path / "near.log",
        objects_folder=objects_folder,
        MODELS_FILE=str(models),
        FAR_KEY=far.key,
    ) as worker:
        processes.wait_until(
            lambda: any(each.makes("far") and each.details for each in worker_registry.list_alive())
        )
        yield worker


def _ended(generations: list[Generation]) -> list[Generation]:
    ids = [each.pk for each in generations]
    processes.wait_until(lambda: not Generation.objects.filter(pk__in=ids, ended_at=None).exists())
    return [*Generation.objects.filter(pk__in=ids).order_by("pk")]


def test_a_worker_makes_creates_and_edits_at_a_far_service_and_never_imports_torch(
    tmp_path: Path, near: Any, far: Server
) -> None:
    owner = factories.account()
    # The far service lets an account have five open generations, so the others are asked for again.
    creates = [factories.submit(owner, now=None, model="far") for _ in range(7)]
    edit = factories.submit(
        owner,
        now=None,
        model="far",
        kind=Kind.EDIT,
        sources=[[factories.sealed(saved(halves()))]],
    )
    ended = _ended([*creates, edit])
    assert [row.status for row in ended] == [Status.COMPLETED] * 8
    made = Generation.objects.filter(model="zekron-image-1")
    assert {(row.prompt, row.parameters["width"], row.parameters["seed"]) for row in made} == {
        (row.prompt, row.parameters["width"], row.parameters["seed"]) for row in ended
    }
    assert made.filter(kind=Kind.EDIT).count() == 1
    assert "libtorch" not in Path(f"/proc/{near.pid}/maps").read_text()
    log = (tmp_path / "near.log").read_text()
    assert far.key not in log
    assert edit.prompt not in log
