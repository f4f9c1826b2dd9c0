"""The image `web` as it is deployed: built from the Containerfile, and run on the servers of the tests."""

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests import processes
from tests.deploy import artefacts, images
from tests.processes import Server
from zekron_api.local.run import free_port

pytestmark = [pytest.mark.deploy, pytest.mark.django_db(transaction=True)]

MAX_MEGABYTES: Final = 650
FOUND: Final = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))
"""
TEMPORARY: Final = ("/tmp", "/var/tmp", "/run/lock")  # noqa: S108 (folders of the image)
WRITABLE: Final = (
    "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/sys/*' -print -prune"
)


def _run(container: str, *words: str, environment: Mapping[str, str] = {}) -> str:
    ended = subprocess.run(
        images.command(container, words, environment=environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_image_is_small_runs_as_a_number_and_starts_web(image: str) -> None:
    config = images.inspect(image)
    print(f"The image web has {config['megabytes']:.0f} MB.")  # noqa: T201 (`make test-deploy` shows it)
    assert config["megabytes"] < MAX_MEGABYTES
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == artefacts.containerfile()["web"].command
    assert config["WorkingDir"] == "/srv/zekron"


def test_the_image_has_the_packages_of_web_and_not_those_of_gpu(container: str) -> None:
    names = [
        "django",
        "uvicorn",
        "celery",
        "psycopg",
        "torch",
        "diffusers",
        "transformers",
        "supervisor",
        "pytest",
    ]
    assert json.loads(_run(container, "python3", "-c", FOUND, *names)) == names[:4]
    assert "tests" not in _run(container, "ls").split()


def test_its_user_can_write_to_its_own_folders_alone(container: str) -> None:
    found = _run(container, "sh", "-c", f"{WRITABLE} 2>/dev/null || true").split()
    assert set(found) <= {"/var/cache/zekron", "/var/lib/zekron", *TEMPORARY}


def test_a_missing_variable_ends_it_with_one_line_and_status_78(container: str) -> None:
    command = images.command(container, artefacts.containerfile()["web"].command, environment={})
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr.startswith("zekron: the environment variable SECRET_KEY is not set")
    assert "exit status 78" in ended.stderr


def test_release_web_and_an_image_for_a_client(
    container: str, environment: dict[str, str], tmp_path: Path
) -> None:
    _run(container, *artefacts.compose()["release"].command, environment=environment)
    _run(container, "python3", "manage.py", "migrate", "--check", environment=environment)
    port = free_port()
    words = [re.sub("^8000$", str(port), word) for word in artefacts.compose()["web"].command]
    log = tmp_path / "web.log"
    with (
        processes.worker(),
        images.running(container, words, environment=environment, log=log) as web,
    ):
        server: Server = processes.ready(f"http://127.0.0.1:{port}")
        assert server.ask("/healthz").json == {"status": "ok"}
        assert server.ask("/readyz?of=web").status == 200
        assert images.probe(environment) == (200, 200)
        created = server.ask("/v1/generate", {"prompt": "a boat", "size": "512x512"})
        assert created.status == 200, created.content
        picture = base64.b64decode(created.json["data"]["image"]["b64_json"])
        assert picture.startswith(b"\x89PNG")
        assert server.ask("/static/admin/css/base.css").status == 200
        # uvicorn ends by the signal itself, once it has done everything.
        images.stop(web)
        assert "Finished server process" in log.read_text()


@pytest.mark.parametrize("name", ["chores", "beat"])
def test_the_other_processes_work_in_the_same_image(
    name: str, container: str, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / f"{name}.log"
    said = {"chores": "ready.", "beat": "Sending due task sweep"}[name]
    words = artefacts.compose()[name].command
    with images.running(container, words, environment=environment, log=log) as process:
        processes.wait_until(lambda: said in log.read_text() or process.poll() is not None)
        assert said in log.read_text()
        assert images.probe(environment) == (200, 200)
        assert images.stop(process) == 0
