"""A web process of the benchmarks' own, the clients that wait in it, and the resources that it uses."""

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

from django.db import connection

from bench import database, processor_time, subprocesses
from zekron_api.local.run import free_port


@dataclass(frozen=True)
class Web:
    """A web process with a name of its own, and the process of its clients."""

    name: str
    server: subprocesses.Process
    clients: "subprocess.Popen[str]"

    @property
    def memory_bytes(self) -> int:
        """Return its proportional set size: its own memory, and its share of shared memory."""
        return 1024 * self._read_number("smaps_rollup", "Pss:")

    @property
    def thread_count(self) -> int:
        """Return the number of its threads."""
        return self._read_number("status", "Threads:")

    @property
    def cpu_seconds(self) -> float:
        """Return the processor seconds of all its threads since it began."""
        return processor_time.read_seconds([self.server.pid])[self.server.pid]

    @property
    def database_connection_count(self) -> int:
        """Return the number of its connections, as the database counts them."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [self.name])
            return int(cursor.fetchone()[0])

    def order(self, **order: Any) -> Any:
        """Send an order to the clients, and return its result."""
        self.send(**order)
        return self.receive()

    def send(self, **order: Any) -> None:
        """Send an order; `receive` returns its result."""
        assert self.clients.stdin
        self.clients.stdin.write(json.dumps(order) + "\n")
        self.clients.stdin.flush()

    def receive(self) -> Any:
        """Return the result of the oldest order."""
        assert self.clients.stdout
        return json.loads(self.clients.stdout.readline())

    def _read_number(self, file: str, name: str) -> int:
        text = (processor_time.PROC / str(self.server.pid) / file).read_text()
        return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


@contextmanager
def serve(application: str, *, name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Web]:
    """Serve the application by uvicorn, as the Procfile does, on this database during the block."""
    port = free_port()
    command = subprocesses.build_python_command(
        *("-m", "uvicorn", application, "--port", str(port)),
        *("--http", "zekron_api.waiting.http_connection:HttpConnection"),
        *("--backlog", "2048", "--no-access-log", "--log-level", "warning"),
    )
    variables = {**os.environ, "DATABASE_URL": database.build_url(), "PGAPPNAME": name, **environment}
    with subprocesses.run(name, command, folder=folder, environment=variables) as server:
        clients = subprocess.Popen(
            subprocesses.build_python_command("-m", "bench.loader", str(port)),
            cwd=subprocesses.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_until_listening(port, server)
            yield Web(name, server, clients)
        finally:
            clients.kill()
            clients.communicate()
            # A graceful end would wait for requests that are not answered yet.
            server.kill()


def _wait_until_listening(port: int, server: subprocesses.Process) -> None:
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
