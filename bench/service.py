"""The whole service as real processes around a benchmark: web and workers as the Procfile starts them.

Redis and the folder of the object store are its own, and the database is the benchmark's.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import redis

from bench import database, processor_time, subprocesses
from bench.models_file import PRICE
from bench.subprocesses import ROOT, Process
from billing import keys, ledger
from zekron_api.local.run import free_port
from zekron_api.local.supervisord import read

OPENING_MICROS: Final = 10**12
# The published rate limit: requests that an account may send in a minute.
REQUESTS_AN_ACCOUNT: Final = 60

FAKE_ENGINE: Final = (
    """
[zekron-image-1]
adapter = "bench.fake_engine"
weights = "{folder}"
licence = "none"
steps = 1
dtype = "float32"
batch_limit = 4
[zekron-image-1.options]
"""
    + PRICE
)

_names = count(1)


@dataclass(frozen=True, kw_only=True)
class Service:
    """The processes of a running service, and its addresses."""

    port: int
    redis_url: str
    folder: Path
    processes: Mapping[str, Process]
    environment: Mapping[str, str]

    @property
    def diary(self) -> Path:
        """Return the fake engine's diary."""
        return self.folder / "diary"

    def open_account(self) -> int:
        """Open an account with more money than a benchmark spends, and return its id."""
        name = f"benchmark service {next(_names)}"
        return ledger.open_account(name=name, opening_micros=OPENING_MICROS, actor="benchmark").pk

    def issue_keys(self, requests: int) -> list[str]:
        """Return a key for each of the new accounts that this many requests at once need."""
        accounts = (self.open_account() for _ in range(-(-requests // REQUESTS_AN_ACCOUNT)))
        return [keys.issue(account_id=account_id)[1] for account_id in accounts]

    def connect_redis(self) -> redis.Redis:
        """Return a client of its Redis."""
        return redis.Redis.from_url(self.redis_url)

    def start_worker(self, name: str) -> Process:
        """Start another worker, which the caller ends."""
        return _start(name, "gpu", self.folder, self.environment)

    def read_processor_seconds(self) -> dict[str, dict[int, float]]:
        """Return the seconds so far of each process, PostgreSQL without the benchmark's own connection."""
        of_processes = {
            name: processor_time.read_seconds([process.pid]) for name, process in self.processes.items()
        }
        return {**of_processes, "postgres": database.read_processor_seconds()}


@contextmanager
def run(*, models: str = FAKE_ENGINE, workers: Sequence[str] = ("worker",)) -> Iterator[Service]:
    """Run everything during the block. `{folder}` in `models`, a models file's text, becomes the service's folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zekron-bench-")))
        (folder / "diary").touch()
        (folder / "models.toml").write_text(models.replace("{folder}", str(folder)))
        port, redis_port = free_port(), free_port()
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        environment = {**os.environ, **_build_environment(port, redis_url, folder)}
        command = subprocesses.build_redis_command(port=redis_port, folder=folder)
        started = {"redis": subprocesses.start("redis", command, folder=folder)}
        stack.callback(subprocesses.end, started["redis"])
        # The web process ends first, so that its waiting clients get their images.
        for name in (*workers, "web"):
            kind = "web" if name == "web" else "gpu"
            started[name] = _start(name, kind, folder, environment)
            stack.callback(subprocesses.end, started[name])
        # A worker that loads is slower than the web process, which refuses what nobody would make.
        subprocesses.wait_until_up(
            started["web"],
            port=port,
            path="/readyz",
            log=folder / "web.log",
            is_ready=partial(_has_workers, count=len(workers)),
        )
        yield Service(
            port=port, redis_url=redis_url, folder=folder, processes=started, environment=environment
        )


def _has_workers(readiness: bytes, *, count: int) -> bool:
    by_model: dict[str, int] = json.loads(readiness)["workers"].get("models", {})
    return sum(by_model.values()) >= count


def _start(name: str, kind: str, folder: Path, environment: Mapping[str, str]) -> Process:
    command = ["/bin/sh", "-c", f"exec {read(ROOT / 'Procfile')[kind]}"]
    return subprocesses.start(name, command, folder=folder, environment=environment)


def _build_environment(port: int, redis_url: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database.build_url(),
        "REDIS_URL": redis_url,
        "STORAGE_URL": (folder / "objects").as_uri(),
        "MODELS_FILE": str(folder / "models.toml"),
        "PORT": str(port),
        "WEB_HOST": "127.0.0.1",
        "DEBUG": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
