"""A web process of the benchmarks' own, the clients that wait in it, and what the system says that it uses."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection

from bench import processor_time, subprocesses
from zekron_api.local.run import free_port


@dataclass(frozen=True)
class Web:
    """A web process under its own name, and the process with its clients."""

    name: str
    server: subprocesses.Process
    clients: "subprocess.Popen[str]"

    @property
    def memory_bytes(self) -> int:
        """What is its alone or its share of what others have too."""
        return 1024 * self._number("smaps_rollup", "Pss:")

    @property
    def thread_count(self) -> int:
        """All of its threads."""
        return self._number("status", "Threads:")

    @property
    def cpu_seconds(self) -> float:
        """What all of its threads have used since it began."""
        return processor_time.seconds_of([self.server.pid])[self.server.pid]

    @property
    def database_connection_count(self) -> int:
        """Its connections, as the database counts them."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [self.name])
            return int(cursor.fetchone()[0])

    def order(self, **order: Any) -> Any:
        """Has the clients do something, and gives what came of it."""
        self.tell(**order)
        return self.told()

    def tell(self, **order: Any) -> None:
        """Begins it; `told` gives what came of it."""
        assert self.clients.stdin
        self.clients.stdin.write(json.dumps(order) + "\n")
        self.clients.stdin.flush()

    def told(self) -> Any:
        """What came of the order that was told first."""
        assert self.clients.stdout
        return json.loads(self.clients.stdout.readline())

    def _number(self, file: str, name: str) -> int:
        text = (processor_time.PROC / str(self.server.pid) / file).read_text()
        return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


@contextmanager
def serving(application: str, *, name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Web]:
    """Inside, uvicorn serves the application as the Procfile says, on this database; then all has ended."""
    port = free_port()
    command = subprocesses.python(
        *("-m", "uvicorn", application, "--port", str(port)),
        *("--backlog", "2048", "--no-access-log", "--log-level", "warning"),
    )
    variables = {**os.environ, "DATABASE_URL": _database_url(), "PGAPPNAME": name, **environment}
    with subprocesses.running(name, command, folder=folder, environment=variables) as server:
        clients = subprocess.Popen(
            subprocesses.python("-m", "bench.loader", str(port)),
            cwd=subprocesses.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_until_it_listens(port, server)
            yield Web(name, server, clients)
        finally:
            clients.kill()
            clients.communicate()
            # It would wait for those whose turn has not come.
            server.kill()


def _wait_until_it_listens(port: int, server: subprocesses.Process) -> None:
    give_up_at = time.monotonic() + subprocesses.START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert server.poll() is None, "the web process has ended"
            assert time.monotonic() < give_up_at, "the web process does not listen"
            time.sleep(0.1)
        else:
            return


def _database_url() -> str:
    values: dict[str, str] = connection.settings_dict
    password = f":{quote(values['PASSWORD'], safe='')}" if values["PASSWORD"] else ""
    login = f"{quote(values['USER'], safe='')}{password}"
    host = quote(values["HOST"], safe="") + (f":{values['PORT']}" if values["PORT"] else "")
    return f"postgres://{login}@{host}/{connection.settings_dict['NAME']}"
