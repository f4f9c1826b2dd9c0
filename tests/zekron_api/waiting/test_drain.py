"""A deploy: a web process that is told to stop takes no new client, and stays until those that wait have a reply."""

import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

from billing import audit as money
from billing import keys
from tests import factories, processes
from workers.audit import rows
from workers.messaging import worker_registry
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
ACCOUNT_COUNT = 3
CLIENT_COUNT = ACCOUNT_COUNT * settings.OPEN_GENERATIONS_LIMIT
PATIENCE_SECONDS = 60


class Web(NamedTuple):
    """A web process as the Procfile starts it, and the address that it listens on."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    log: Path

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def refuses(self) -> bool:
        """Return whether nobody listens there."""
        try:
            socket.create_connection(self.address, timeout=PATIENCE_SECONDS).close()
        except ConnectionRefusedError:
            return True
        return False


def command(port: int) -> list[str]:
    """Return the Procfile's web process, on this port of this machine, as arguments for Python."""
    procfile = (processes.ROOT / "Procfile").read_text()
    line = re.search(r"^web: (.*)$", procfile, re.MULTILINE)
    assert line is not None
    text = line[1].replace("${WEB_HOST:-0.0.0.0}", "127.0.0.1").replace("${PORT:-8000}", str(port))
    assert "$" not in text
    return ["-m", *shlex.split(text)]


@contextmanager
def web(tmp_path: Path, objects_folder: Path, **environment: str) -> Iterator[Web]:
    """Run a web process; it ends with the block at the latest."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    log = tmp_path / "web.log"
    port = str(address[1])
    with processes.started(
        command(address[1]), log=log, objects_folder=objects_folder, PORT=port, **environment
    ) as process:
        yield Web(process, address, log)


def until(true: Callable[[], bool]) -> None:
    """Wait for what must come true soon."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def ready(started: Web) -> None:
    """Wait until the process answers, and let it take a worker to be there."""

    def answers() -> bool:
        try:
            return processes.Server(started.url, "").ask("/healthz").status == 200
        except OSError:
            return False

    until(answers)
    worker_registry.publish(worker_name="test", seconds_per_image=0.01)


def clients(url: str, threads: ThreadPoolExecutor) -> "list[Future[processes.Answer]]":
    """Clients that wait: each of some accounts has as many as it may have open, and the process has taken them all."""
    answers = []
    for _ in range(ACCOUNT_COUNT):
        _, key = keys.issue(account_id=factories.account().pk)
        for _ in range(settings.OPEN_GENERATIONS_LIMIT):
            body = {"prompt": "a boat", "size": "512x512"}
            answers.append(threads.submit(processes.Server(url, key).ask, "/v1/generate", body))
    until(lambda: Generation.objects.filter(status=Status.QUEUED).count() == len(answers))
    return answers


def assert_ended_cleanly(stopped: Web) -> None:
    """Check that it ended by itself, as the signal ends a process, and had nothing to complain of."""
    assert stopped.process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
    log = stopped.log.read_text()
    assert not re.search(r"ERROR|CRITICAL|Traceback", log), log


@pytest.mark.processes
def test_clients_that_wait_get_their_images_and_new_ones_are_refused(
    tmp_path: Path, objects_folder: Path
) -> None:
    with ThreadPoolExecutor(CLIENT_COUNT) as threads, web(tmp_path, objects_folder) as started:
        ready(started)
        answers = clients(started.url, threads)
        started.process.send_signal(signal.SIGTERM)
        until(started.refuses)
        assert started.process.poll() is None
        assert not any(answer.done() for answer in answers)
        with processes.worker():
            replies = [answer.result(PATIENCE_SECONDS) for answer in answers]
        assert_ended_cleanly(started)
    assert [reply.status for reply in replies] == [200] * len(answers)
    assert all(reply.json["data"]["image"]["b64_json"] for reply in replies)
    assert [*money.audit(), *rows.find_disagreements(), *rows.find_open_work()] == []
    assert Generation.objects.filter(status=Status.COMPLETED).count() == len(answers)


@pytest.mark.processes
def test_clients_whose_turn_does_not_come_are_told_so_before_the_process_ends(
    tmp_path: Path, objects_folder: Path
) -> None:
    with (
        ThreadPoolExecutor(CLIENT_COUNT) as threads,
        web(tmp_path, objects_folder, SYNC_WAIT_SECONDS="10") as started,
    ):
        ready(started)
        answers = clients(started.url, threads)
        started.process.send_signal(signal.SIGTERM)
        until(started.refuses)
        replies = [answer.result() for answer in answers]
        assert_ended_cleanly(started)
    assert {(reply.status, reply.json["error"]["type"]) for reply in replies} == {(503, "service_busy")}
    assert [*money.audit(), *rows.find_disagreements(), *rows.find_open_work()] == []


def test_the_process_stays_longer_than_any_client_waits() -> None:
    words = command(1)
    stays_seconds = int(words[words.index("--timeout-graceful-shutdown") + 1])
    assert stays_seconds > settings.SYNC_WAIT_SECONDS
