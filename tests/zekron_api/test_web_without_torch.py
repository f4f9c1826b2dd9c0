"""Web and chores in an environment that has requirements/web.txt and nothing else."""

import base64
import os
import subprocess
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import factories, processes

pytestmark = pytest.mark.processes

REQUIREMENTS = processes.ROOT / "requirements"
LISTED_TASKS = """
from zekron_api.celery import app
app.loader.import_default_modules()
print("tasks:", *sorted(app.tasks))
"""
FOUND_MODULES = """
import importlib.util, sys
print("found:", *(name for name in sys.argv[1:] if importlib.util.find_spec(name)))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a virtual environment with links to the packages that pip would choose for web.txt."""
    folder = tmp_path_factory.mktemp("web") / "venv"
    venv.create(folder, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    for name in _with_dependencies(_read("web.txt")):
        for entry in _top_level_entries(name):
            link = site_packages / entry.name
            if not link.exists():
                link.symlink_to(entry)
    return folder / "bin" / "python"


def _read(file_name: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (REQUIREMENTS / file_name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def _with_dependencies(requirements: Sequence[Requirement]) -> set[str]:
    """Return the names of the distributions that the requirements need, directly or through others."""
    seen: set[tuple[str, str]] = set()
    pending = [(each, extra) for each in requirements for extra in ("", *each.extras)]
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for needed in map(Requirement, distribution(name).requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                pending += [(needed, each) for each in ("", *needed.extras)]
    return {name for name, _ in seen}


def _top_level_entries(name: str) -> set[Path]:
    """Return the files and folders that a distribution has in site-packages; its commands lie outside."""
    installed = distribution(name)
    tops = {Path(file.parts[0]) for file in installed.files or () if file.parts[0] != ".."}
    return {Path(str(installed.locate_file(top))) for top in tops if top.name != "__pycache__"}


def _run(python: Path, arguments: Sequence[str], **variables: str) -> str:
    result = subprocess.run(
        [str(python), *arguments],
        cwd=processes.ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def server(python: Path, tmp_path: Path, objects_folder: Path) -> Iterator[processes.Server]:
    """Run a web process of that environment and a worker in this process, and make an account with a key."""
    with (
        processes.worker(),
        processes.running(folder=tmp_path, objects_folder=objects_folder, python=python) as stack,
    ):
        yield processes.ready(stack.url)


def test_the_environment_lacks_what_runs_models_and_local_servers(python: Path) -> None:
    for file_name in ("gpu.txt", "local.txt"):
        names = [each.name.replace("-", "_") for each in _read(file_name)]
        assert names
        assert _run(python, ["-c", FOUND_MODULES, "django", *names]) == "found: django\n"


@pytest.mark.django_db(transaction=True)
def test_web_lives_and_serves_a_create_and_its_edit(server: processes.Server) -> None:
    assert server.ask("/healthz").json == {"status": "ok"}
    created = server.ask("/v1/generate", {"prompt": "a boat", "size": "512x512"})
    assert created.status == 200
    image = created.json["data"]["image"]
    assert base64.b64decode(image["b64_json"]).startswith(b"\x89PNG")
    source = {"data": image["b64_json"], "mime_type": "image/png"}
    edited = server.ask("/v1/generate", {"prompt": "at night", "size": "512x512", "images": [source]})
    assert (edited.status, edited.json["data"]["type"]) == (200, "edit")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("arguments", [["check"], ["migrate", "--check"], ["audit_ledger", "--objects"]])
def test_the_commands_of_manage_work(arguments: list[Any], python: Path, objects_folder: Path) -> None:
    factories.account()
    _run(python, ["manage.py", *arguments], **processes.variables(8000, objects_folder))


@pytest.mark.django_db(transaction=True)
def test_the_tasks_of_chores_are_registered(python: Path, objects_folder: Path) -> None:
    tasks = _run(python, ["-c", LISTED_TASKS], **processes.variables(8000, objects_folder)).split()
    assert {"workers.tasks.sweep", "workers.tasks.audit_ledger"} <= set(tasks)
    assert {"storage.tasks.purge", "storage.tasks.remove_orphans"} <= set(tasks)
    assert "billing.tasks.check_card_payments" in tasks
