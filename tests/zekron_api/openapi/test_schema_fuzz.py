"""Requests that schemathesis makes from the OpenAPI document, against a live server: every reply is as described.

`make fuzz-schema` runs the same with more of them.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest
import uvicorn
from django.db import connections
from pytest_django import Settings

from billing.audit import audit
from tests import factories
from tests.processes import ROOT
from tests.zekron_api.callers import Caller, caller
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.messaging import enqueue, worker_registry
from zekron_api.waiting.asgi_handler import WaitingRoom
from zekron_api.waiting.http_connection import HttpConnection

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent
# How many requests of each kind are made for each operation, at most.
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "8")
SEED = os.environ.get("FUZZ_SEED", "1")
START_LIMIT_SECONDS = 30


@pytest.fixture
def unlimited(settings: Settings) -> None:
    """Neither rate nor open generations are what is tested here."""
    settings.REQUESTS_PER_MINUTE = settings.POLLS_PER_MINUTE = settings.VERIFICATIONS_PER_MINUTE = 1_000_000
    settings.OPEN_GENERATIONS_LIMIT = settings.QUEUE_LIMIT = 1_000_000
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 1_000_000
    settings.FAILED_REDEMPTIONS_PER_HOUR_OF_ADDRESS = 1_000_000
    settings.ALLOWED_HOSTS = ["127.0.0.1"]


@pytest.fixture
def rich() -> Caller:
    """Return a caller who can pay for all of it."""
    return caller(balance_micros=10**12)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread that works off the queue, and keeps its connection as a worker's threads do."""
    queue: SimpleQueue[int | None] = SimpleQueue()

    def work(context: AttemptContext) -> None:
        while queue.get() is not None:
            attempt.run_next(context=context)
        connections.close_all()

    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: queue.put(generation_id))
    worker_registry.publish(worker_name="test", seconds_per_image=0.001)
    with factories.attempt_context(factories.StandInEngine()) as context, running(partial(work, context)):
        yield
        queue.put(None)


@pytest.fixture
def address(unlimited: None, worker: None) -> Iterator[str]:
    """Return the address of a live server in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(WaitingRoom(), http=HttpConnection, log_config=None, access_log=False)
        )
        with running(partial(server.run, sockets=[listener])):
            give_up_at = time.monotonic() + START_LIMIT_SECONDS
            while not server.started and time.monotonic() < give_up_at:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@contextmanager
def running(work: Callable[[], None]) -> Iterator[None]:
    """Run this in a thread, and leave when it has ended by itself."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_no_request_gets_an_error_of_ours_or_a_reply_that_is_not_described(
    address: str, rich: Caller, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *(
            "run",
            f"{address}/v1/openapi.json",
            "--url",
            address,
            "--header",
            f"Authorization:Bearer {rich.key}",
        ),
        *("--max-examples", EXAMPLES, "--seed", SEED, "--request-timeout", "60", "--no-color"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.zekron_api.openapi.fuzz_hooks"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    assert list(audit()) == []
