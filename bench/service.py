"""The whole service as real processes around a benchmark: web and workers as the Procfile has them, a Redis of their
own, a store in a folder, and the benchmark's database."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis
from django.db import connection

from bench import processor_time, subprocesses
from bench.subprocesses import ROOT, Process
from billing import keys, ledger
from zekron_api.local.run import free_port
from zekron_api.local.supervisord import read

OPENING_MICROS: Final = 10**12
# What an account may send in a minute, as published.
REQUESTS_AN_ACCOUNT: Final = 60

PRICE: Final = """
[zekron-image-1.price]
base = "0.0250"
per_megapixel = "0.0017"
per_source_image = "0.0004"
least = "0.0250"
most = "0.0290"
"""

STAND_IN: Final = (
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
    """What runs, and where."""

    port: int
    redis_url: str
    folder: Path
    processes: Mapping[str, Process]
    environment: Mapping[str, str]

    @property
    def diary(self) -> Path:
        """What the stand-in for a device writes."""
        return self.folder / "diary"

    def account(self) -> int:
        """The id of a new account, with more money than a benchmark spends."""
        name = f"benchmark service {next(_names)}"
        return ledger.open_account(name=name, opening_micros=OPENING_MICROS, actor="benchmark").pk

    def keys(self, requests: int) -> list[str]:
        """Keys of as many new accounts as may send so many requests at once."""
        accounts = (self.account() for _ in range(-(-requests // REQUESTS_AN_ACCOUNT)))
        return [keys.issue(account_id=account_id)[1] for account_id in accounts]

    def redis(self) -> redis.Redis:
        """A client of its Redis."""
        return redis.Redis.from_url(self.redis_url)

    def start_worker(self, name: str) -> Process:
        """Another worker, which the caller ends."""
        return _start(name, "gpu", self.folder, self.environment)

    def processor_seconds(self) -> dict[str, dict[int, float]]:
        """What has been used so far by web, workers, Redis, and PostgreSQL but for what serves the benchmark itself."""
        of_processes = {
            name: processor_time.seconds_of([process.pid]) for name, process in self.processes.items()
        }
        return {**of_processes, "postgres": _postgres_seconds()}


@contextmanager
def running(*, models: str = STAND_IN, workers: Sequence[str] = ("worker",)) -> Iterator[Service]:
    """Everything is up in the block. `models` is the text of a models file; `{folder}` in it becomes the service's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zekron-bench-")))
        (folder / "diary").touch()
        (folder / "models.toml").write_text(models.replace("{folder}", str(folder)))
        port, redis_port = free_port(), free_port()
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        environment = {**os.environ, **_variables(port, redis_url, folder)}
        command = subprocesses.redis(port=redis_port, folder=folder)
        started = {"redis": subprocesses.start("redis", command, folder=folder)}
        stack.callback(subprocesses.end, started["redis"])
        # The web process ends first: its waiting clients get their images.
        for name in (*workers, "web"):
            kind = "web" if name == "web" else "gpu"
            started[name] = _start(name, kind, folder, environment)
            stack.callback(subprocesses.end, started[name])
        subprocesses.wait_until_up(started["web"], port=port, path="/readyz", log=folder / "web.log")
        yield Service(
            port=port, redis_url=redis_url, folder=folder, processes=started, environment=environment
        )


def _start(name: str, kind: str, folder: Path, environment: Mapping[str, str]) -> Process:
    command = ["/bin/sh", "-c", f"exec {read(ROOT / 'Procfile')[kind]}"]
    return subprocesses.start(name, command, folder=folder, environment=environment)


def _variables(port: int, redis_url: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": _database_url(),
        "REDIS_URL": redis_url,
        "STORAGE_URL": (folder / "objects").as_uri(),
        "MODELS_FILE": str(folder / "models.toml"),
        "PORT": str(port),
        "WEB_HOST": "127.0.0.1",
        "DEBUG": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _database_url() -> str:
    """The benchmark's database in the spelling of DATABASE_URL."""
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    login = values["USER"] + (f":{values['PASSWORD']}" if values["PASSWORD"] else "")
    port = f":{values['PORT']}" if values["PORT"] else ""
    return f"postgres://{login}@{values['HOST']}{port}/{values['NAME']}"


def _postgres_seconds() -> dict[int, float]:
    """Of all of the server's processes together: a backend that has ended has cost what it cost."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = int(cursor.fetchone()[0])
    server = processor_time.parent_of(own)
    return {server: processor_time.seconds_of_children(server, without=own)}
