"""Failover on real processes: the primary dies, its standby is promoted, and nothing that was acknowledged is lost."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests import processes
from tests.postgres_server import PostgresServer
from zekron_api.local.run import free_port

pytestmark = [pytest.mark.long, pytest.mark.processes]
DATABASE: Final = "zekron"
CLIENT_COUNT, ORDERS_BEFORE, ORDERS_IN_ALL = 4, 10, 40
# Without a primary for this time, requests fail before the standby is promoted.
AWAY_SECONDS: Final = 3
PATIENCE_SECONDS: Final = 120
WORKER: Final = (
    "-m celery -A zekron_api worker -P threads -c 2 -Q gpu -n gpu@failover --without-gossip --without-mingle"
)


class Told(NamedTuple):
    """An answer to an order: its status, its generation if it names one, and the type of its error."""

    status: int
    generation_id: int | None
    error_type: str


class Orders:
    """Clients that order until there are enough images, each again under its key until it has its image."""

    def __init__(self, url: str, key: str) -> None:
        self.told: list[Told] = []
        self._url, self._key = url, key
        self._numbers = iter(range(ORDERS_IN_ALL))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENT_COUNT)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads)

    def made_count(self) -> int:
        return sum(told.status == 200 for told in self.told)

    def _run(self) -> None:
        while (number := self._next()) is not None:
            while (told := self._ask(number)) is None or told.status != 200:
                time.sleep(0.2)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _ask(self, number: int) -> Told | None:
        body = json.dumps({"prompt": f"boat {number}", "size": "512x512"}).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        headers["Idempotency-Key"] = f"order {number}"
        request = urllib.request.Request(f"{self._url}/v1/generate", body, headers)  # noqa: S310 (our own server)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
                told = Told(reply.status, json.load(reply)["data"]["id"], "")
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)["error"]
            told = Told(error.code, said.get("generation_id"), said["type"])
        except OSError:
            return None
        self.told.append(told)
        return told


@contextmanager
def _pair(folder: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary and a standby that has each commit before it is acknowledged."""
    port = free_port()
    primary, standby = (
        PostgresServer(folder=folder, address=address, port=port) for address in ("127.0.0.1", "127.0.0.2")
    )
    try:
        primary.create(DATABASE)
        standby.follow(primary)
        with primary.connect(DATABASE) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")
        yield primary, standby
    finally:
        standby.close()
        primary.close()


def _manage(url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=processes.ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_clients_notice_a_failover_by_retries_alone_and_no_acknowledged_generation_is_lost(
    tmp_path: Path, objects_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_URL", objects_folder.as_uri())
    with _pair(tmp_path) as (primary, standby):
        hosts = f"{primary.address},{standby.address}:{primary.port}"
        url = f"postgres://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"
        _manage(url, "migrate", "--verbosity=0")
        _manage(url, "create_account", "failover", "--balance", "50.00")
        _manage(url, "set_limits", "failover", "--requests", "6000", "--open", "100")
        key = _manage(url, "create_key", "failover").split()[-1]
        with processes.running(
            folder=tmp_path,
            objects_folder=objects_folder,
            others={"gpu": WORKER.split()},
            MODELS_FILE=str(processes.scripted_models(tmp_path)),
            DATABASE_URL=url,
        ) as stack:
            orders = Orders(stack.url, key)
            orders.start()
            processes.wait_until(lambda: orders.made_count() >= ORDERS_BEFORE)
            primary.crash()
            time.sleep(AWAY_SECONDS)
            standby.promote()
            orders.join()
        _check(orders, standby)
        _manage(url, "audit_ledger", "--objects", "--at-rest")


def _check(orders: Orders, promoted: PostgresServer) -> None:
    with promoted.connect(DATABASE) as connection:
        rows = dict(connection.execute("SELECT id, status FROM workers_generation").fetchall())
    acknowledged = {told.generation_id for told in orders.told if told.generation_id}
    assert acknowledged <= rows.keys()
    assert {rows[told.generation_id] for told in orders.told if told.status == 200} == {"completed"}
    # One order, one generation: a retry never makes another.
    assert len(rows) == orders.made_count() == ORDERS_IN_ALL
    assert any(told.status == 503 for told in orders.told)
    assert {told.error_type for told in orders.told if told.status >= 400} <= {
        "service_unavailable",
        "service_busy",
        "generation_timeout",
    }
