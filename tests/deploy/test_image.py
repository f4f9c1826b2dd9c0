"""The image `web` as it is deployed: built from the Containerfile, and run on the servers of the tests."""

import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import psutil
import pytest
from django.conf import settings

from tests import processes, tcp_proxy
from tests.deploy import artefacts, images
from tests.processes import Server
from tests.storage import s3
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


@pytest.fixture(scope="module")
def image() -> str:
    """Build the target `web`."""
    return images.build("web")


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """Make a container of the image."""
    with images.container(image) as identifier:
        yield identifier


@pytest.fixture
def environment(own_server: s3.Server) -> Iterator[dict[str, str]]:
    """Give the container the test's servers over TCP, and the secrets of this process, which works for it."""
    redis = urlsplit(settings.REDIS_URL)
    keys = (f"{name}:{base64.b64encode(key).decode()}" for name, key in settings.MASTER_KEYS.items())
    with ExitStack() as stack:
        database = stack.enter_context(tcp_proxy.before(processes.connect_to_database))
        messages = stack.enter_context(tcp_proxy.before(tcp_proxy.to_unix_socket(Path(unquote(redis.path)))))
        yield {
            "DATABASE_URL": processes.database_url(host="127.0.0.1", port=database.port),
            "REDIS_URL": f"redis://127.0.0.1:{messages.port}/{redis.query.removeprefix('db=')}",
            "STORAGE_URL": own_server.url("prefix"),
            "SECRET_KEY": settings.SECRET_KEY,
            "MASTER_KEYS": ",".join(keys),
            "ALLOWED_HOSTS": "127.0.0.1",
            "PUBLIC_URL": "http://127.0.0.1",
            "METRICS_PORT": str(free_port()),
            **s3.CREDENTIALS,
        }


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


@contextmanager
def _running(
    container: str, words: list[str], *, environment: Mapping[str, str], log: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the words in the container while the block runs, and kill what is left of them then."""
    with log.open("wb") as output:
        command = images.command(container, words, environment=environment)
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            each.kill()
        process.wait(timeout=30)
        sys.stderr.write(log.read_text())


def _stop(process: "subprocess.Popen[bytes]") -> int:
    """Send SIGTERM to the first process of the container, and return the status of its end."""
    *_, first = psutil.Process(process.pid).children(recursive=True)
    first.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)


def _probe(environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the replies to the probes of liveness and readiness, as Kubernetes sends them."""
    inside = Server(f"http://127.0.0.1:{environment['METRICS_PORT']}", key="")
    return tuple(inside.ask(path).status for path in ("/healthz", "/readyz"))


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
        _running(container, words, environment=environment, log=log) as web,
    ):
        server: Server = processes.ready(f"http://127.0.0.1:{port}")
        assert server.ask("/healthz").json == {"status": "ok"}
        assert server.ask("/readyz?of=web").status == 200
        assert _probe(environment) == (200, 200)
        created = server.ask("/v1/generate", {"prompt": "a boat", "size": "512x512"})
        assert created.status == 200, created.content
        picture = base64.b64decode(created.json["data"]["image"]["b64_json"])
        assert picture.startswith(b"\x89PNG")
        assert server.ask("/static/admin/css/base.css").status == 200
        # uvicorn ends by the signal itself, once it has done everything.
        _stop(web)
        assert "Finished server process" in log.read_text()


@pytest.mark.parametrize("name", ["chores", "beat"])
def test_the_other_processes_work_in_the_same_image(
    name: str, container: str, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / f"{name}.log"
    said = {"chores": "ready.", "beat": "Sending due task sweep"}[name]
    words = artefacts.compose()[name].command
    with _running(container, words, environment=environment, log=log) as process:
        processes.wait_until(lambda: said in log.read_text() or process.poll() is not None)
        assert said in log.read_text()
        assert _probe(environment) == (200, 200)
        assert _stop(process) == 0
