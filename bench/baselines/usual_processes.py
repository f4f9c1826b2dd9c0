"""The usual service as real processes: gunicorn, a Celery worker and a Redis of its own, on this PostgreSQL."""

import hashlib
import importlib.util
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet
from django.db import connection

from bench import database, processor_time, subprocesses
from bench.benchmark import Skipped
from bench.service import REQUESTS_AN_ACCOUNT
from zekron_api.local.run import free_port

PACKAGE: Final = "bench.baselines.usual_service"
# A client that waits takes a thread, and more clients than these never wait at once.
THREADS: Final = 16

_INSERT: Final = """
WITH account AS (
    INSERT INTO usual_service_account (name, balance, reserved) VALUES ('benchmark', 10000, 0) RETURNING id
)
INSERT INTO usual_service_apikey (account_id, digest) SELECT id, %s FROM account
"""


@dataclass(frozen=True, kw_only=True)
class UsualService:
    """The processes of a running usual service, and its port."""

    port: int
    processes: Mapping[str, subprocesses.Process]

    def issue_keys(self, requests: int) -> list[str]:
        """Return a key for each of the new accounts that this many requests in a minute need."""
        keys = [secrets.token_hex(16) for _ in range(-(-requests // REQUESTS_AN_ACCOUNT))]
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, [[hashlib.sha256(key.encode()).hexdigest()] for key in keys])
        return keys

    def read_processor_seconds(self) -> dict[str, dict[int, float]]:
        """Return the seconds so far of each process, PostgreSQL without the benchmark's own connection."""
        of_processes = {
            name: processor_time.read_seconds(processor_time.find_descendants(process.pid))
            for name, process in self.processes.items()
        }
        return {**of_processes, "postgres": database.read_processor_seconds()}


@contextmanager
def run() -> Iterator[UsualService]:
    """Run everything during the block. Raise Skipped without gunicorn."""
    if importlib.util.find_spec("gunicorn") is None:
        raise Skipped("gunicorn is not installed; run `make bench` to install bench/requirements.txt")
    with tempfile.TemporaryDirectory(prefix="zekron-bench-") as name:
        folder, port, redis_port = Path(name), free_port(), free_port()
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": f"{PACKAGE}.settings",
            "DATABASE_URL": database.build_url(),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "USUAL_FOLDER": str(folder),
            "USUAL_KEY": Fernet.generate_key().decode(),
        }
        migrate = subprocesses.build_python_command(
            "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"
        )
        subprocess.run(migrate, check=True, env=environment, cwd=subprocesses.ROOT)
        commands = {
            "redis": subprocesses.build_redis_command(port=redis_port, folder=folder),
            "worker": subprocesses.build_python_command(
                "-m", "celery", "-A", PACKAGE, "worker", "-P", "solo"
            ),
            "web": subprocesses.build_python_command(
                *("-m", "gunicorn", "django.core.wsgi:get_wsgi_application()", "--bind", f"127.0.0.1:{port}"),
                *("--worker-class", "gthread", "--threads", str(THREADS)),
            ),
        }
        with ExitStack() as stack:
            processes = {
                part: stack.enter_context(
                    subprocesses.run(part, command, folder=folder, environment=environment)
                )
                for part, command in commands.items()
            }
            subprocesses.wait_until_up(processes["web"], port=port, path="/healthz", log=folder / "web.log")
            yield UsualService(port=port, processes=processes)
