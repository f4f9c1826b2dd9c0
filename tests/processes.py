"""Real processes around a test: they share its database, Redis and store, and an HTTP client sees them."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings
from django.db import connection, connections

from billing import keys
from billing.grants import Grants, Scope
from storage.postgresql import pooling
from tests import factories
from workers.gpu_worker import attempt
from workers.messaging import worker_registry
from workers.models import Generation, Status
from zekron_api.local.run import free_port

ROOT = Path(__file__).resolve().parent.parent
MAX_START_SECONDS = 120


class Answer(NamedTuple):
    """A response of the server."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Server(NamedTuple):
    """A running service, asked with one account's key."""

    url: str
    key: str

    def ask(self, path: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 (our own server)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
                return Answer(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())


class Processes(NamedTuple):
    """Processes that `running` started, and the folder of their logs."""

    port: int
    started: dict[str, subprocess.Popen[bytes]]
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def logs(self) -> str:
        return "".join((self.folder / f"{name}.log").read_text() for name in self.started)


@contextmanager
def running(
    *,
    folder: Path,
    objects_folder: Path,
    others: Mapping[str, Sequence[str]] = {},
    python: str | Path = sys.executable,
    **environment: str,
) -> Iterator[Processes]:
    """Run a web process, and others by their name and arguments for Python; end them with the block."""
    port = free_port()
    web = [
        *("-m", "uvicorn", "zekron_api.asgi:application", "--port", str(port), "--log-level", "warning"),
        *("--http", "zekron_api.waiting.http_connection:HttpConnection"),
    ]
    running = Processes(port, {}, folder)
    environment = {**os.environ, **variables(port, objects_folder), **environment}
    try:
        for name, arguments in {"web": web, **others}.items():
            with (folder / f"{name}.log").open("wb") as log:
                running.started[name] = subprocess.Popen(
                    [python, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
        yield running
    finally:
        for process in running.started.values():
            process.terminate()
        for process in running.started.values():
            process.wait(timeout=90)
        sys.stderr.write(running.logs())


@contextmanager
def started(
    arguments: Sequence[str], *, log: Path, objects_folder: Path, **environment: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run Python with these arguments on the test's database, Redis and store; kill it when the block ends.

    `log` gets its output, which is shown when the test fails.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **variables(8000, objects_folder), **environment},
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        sys.stderr.write(log.read_text())


def scripted_models(folder: Path) -> Path:
    """Write a models.toml whose model has the scripted engine, and return its path."""
    file = folder / "models.toml"
    text = (ROOT / "models.toml").read_text()
    file.write_text(text.replace('"flux2-klein"', '"tests.workers.scripted_engine"'))
    return file


def ready(url: str) -> Server:
    """Wait until the service says that it is ready, and give it an account with a key for everything."""
    _, key = keys.issue(account_id=factories.account().pk, grants=Grants(scopes=tuple(Scope)))
    server = Server(url, key)
    give_up_at = time.monotonic() + MAX_START_SECONDS
    while time.monotonic() < give_up_at:
        try:
            if server.ask("/readyz").status == 200:
                return server
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the service did not become ready")


@contextmanager
def worker(engine: factories.StandInEngine | None = None) -> Iterator[factories.StandInEngine]:
    """Run a worker in this process, without model or messages: it claims straight from the table."""
    engine = engine or factories.StandInEngine()
    closed = threading.Event()
    with factories.attempt_context(engine) as context:
        thread = threading.Thread(target=_work_off, args=(context, closed), name="worker")
        thread.start()
        try:
            yield engine
        finally:
            closed.set()
            thread.join()


def _work_off(context: attempt.AttemptContext, closed: threading.Event) -> None:
    try:
        while not closed.wait(0.02):
            worker_registry.publish(worker_name="test")
            for _ in range(Generation.objects.filter(status=Status.QUEUED).count()):
                attempt.run_next(context=context)
    finally:
        worker_registry.remove(worker_name="test")
        connections.close_all()


def answers(url: str) -> bool:
    """Return whether a web process answers there."""
    try:
        return Server(url, "none").ask("/healthz").status == 200
    except OSError:
        return False


def wait_for_server(is_up: Callable[[], object], *, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once the server of the process is up; fail with its log when it has ended or takes too long."""
    give_up_at = time.monotonic() + MAX_START_SECONDS
    while not is_up():
        is_hopeless = process.poll() is not None or time.monotonic() > give_up_at
        assert not is_hopeless, f"{log.stem} did not start: {log.read_text()}"
        time.sleep(0.02)


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fail when it does not for as long as a process may take to start."""
    give_up_at = time.monotonic() + MAX_START_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def variables(port: int, objects_folder: Path) -> dict[str, str]:
    """Return the variables that make a process share the test's database, Redis and store."""
    direct = connection.settings_dict.get(pooling.DIRECT)
    by_passing = (
        {"DATABASE_DIRECT_URL": database_url(host=direct["host"], port=direct["port"])} if direct else {}
    )
    return {
        "DATABASE_URL": database_url(),
        **by_passing,
        "STORAGE_URL": objects_folder.as_uri(),
        "REDIS_URL": settings.REDIS_URL,
        "PORT": str(port),
        "DEBUG": "1",
    }


def connect_to_database(entry: Mapping[str, Any] | None = None) -> socket.socket:
    """Open a connection to the socket of the test's PostgreSQL, or to that of another entry of the settings."""
    values = entry or connection.settings_dict
    if values["HOST"].startswith("/"):
        inside = socket.socket(socket.AF_UNIX)
        inside.connect(f"{values['HOST']}/.s.PGSQL.{values['PORT'] or 5432}")
        return inside
    return socket.create_connection((values["HOST"], int(values["PORT"] or 5432)))


def database_over(port: int) -> Any:
    """Return a connection of Django's to the test's database over a port of localhost."""
    values = connection.settings_dict
    options = {**values["OPTIONS"], "connect_timeout": 2}
    over = {**values, "HOST": "127.0.0.1", "PORT": str(port), "OPTIONS": options}
    return type(connections["default"])(over, "default")


def database_url(*, host: str = "", port: int | None = None) -> str:
    """Return the test database in the spelling of DATABASE_URL, by default at its own address."""
    values = connection.settings_dict
    login = quote(values["USER"], safe="") + (
        f":{quote(values['PASSWORD'], safe='')}" if values["PASSWORD"] else ""
    )
    at = f":{port or values['PORT']}" if port or values["PORT"] else ""
    return f"postgres://{login}@{quote(host or values['HOST'], safe='')}{at}/{values['NAME']}"
