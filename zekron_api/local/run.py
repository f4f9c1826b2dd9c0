"""The program of `make run`: the whole stack on one machine until Ctrl-C or SIGTERM.

Other programs start the same stack with `up`.
"""

import contextlib
import datetime
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zekron_api.local import logs, preparation, servers, supervisord
from zekron_api.local.preparation import BASE_DIR

VAR_DIR: Final = BASE_DIR / "var"
DEFAULT_PORT: Final = 8000
# While the stack starts, a line says this often which parts are not ready.
REMINDER_SECONDS: Final = 10
# The API waits longest for this one, which loads its model before it reads the database.
EARLIEST: Final = "gpu"
# The API needs these two. On two cores the others would delay them, so they start once the API is ready.
FIRST: Final = (EARLIEST, "web")


class StackFailed(Exception):
    """The stack did not start, or did not keep running."""


@dataclass(frozen=True)
class Stack:
    """A running stack: its port, an API key for it, a link into its console, its logs and its supervisor."""

    port: int
    key: str
    console: str
    logs: Path
    supervisor: supervisord.Supervisor

    @property
    def url(self) -> str:
        """The base URL of every path."""
        return f"http://127.0.0.1:{self.port}"


def say(line: str) -> None:
    """Print the line without buffering."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def up(*, name: str, port: int) -> Iterator[Stack]:
    """Run the whole stack on the port, with an account of its own, while the block runs.

    `name` is the folder of its logs. All started processes have ended when the block is left. Raises StackFailed or
    LocalServicesFailed.
    """
    _refuse_taken(port)
    moment = datetime.datetime.now(tz=datetime.UTC)
    account = f"demo {moment:%Y-%m-%d %H:%M:%S} {secrets.token_hex(2)}"
    folder = VAR_DIR / "log" / name
    environment = {
        "PORT": str(port),
        "WEB_HOST": "127.0.0.1",
        # Whoever opens the start page sees a picture being made.
        "SHOWCASE_ACCOUNT": account,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    procfile = BASE_DIR / "Procfile"
    say("Starting PostgreSQL and Redis.")
    with (
        servers.ending_signals_raise(),
        _failures(),
        preparation.started(account_name=account, log=folder / "preparation.log") as preparing,
        supervisord.supervised(procfile=procfile, folder=folder, environment=environment) as supervisor,
        servers.running(VAR_DIR),
        # The processes end before their servers do.
        contextlib.closing(supervisor),
    ):
        _start_first(supervisor, preparing)
        say(f"Opening the account {account!r} with 10.00 US dollars, and making a key.")
        key, console = preparing.wait_for_key(), preparing.wait_for_link()
        stack = Stack(port=port, key=key, console=console, logs=folder, supervisor=supervisor)
        _wait_until_ready(stack)
        supervisor.start([each for each in supervisord.read(procfile) if each not in FIRST])
        yield stack
        say("Stopping web, workers and beat.")


def _start_first(supervisor: supervisord.Supervisor, preparing: preparation.Preparation) -> None:
    """Start what the API needs: all of it on a migrated database, and the longest while that is only confirmed."""
    waiting = list(FIRST)
    if servers.runs_postgres() and preparation.has_all_migrations(servers.postgres_url(VAR_DIR)):
        say("Starting GPU worker.")
        supervisor.start([EARLIEST])
        waiting.remove(EARLIEST)
    say("Migrating the database.")
    preparing.wait_for_migrations()
    say("Starting GPU worker and web." if EARLIEST in waiting else "Starting web.")
    supervisor.start(waiting)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (preparation.PreparationFailed, supervisord.SupervisordFailed) as error:
        raise StackFailed(str(error)) from None


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        # Without this option, a port whose server ended a moment ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackFailed(
                f"port {port} is taken ({error.strerror}): choose another, as in `PORT=8001 make run`"
            ) from None


def _wait_until_ready(stack: Stack) -> None:
    say(f"Waiting for {stack.url}/readyz.")
    reminder = time.monotonic() + REMINDER_SECONDS
    while missing := _missing(stack.port):
        refuse_broken(stack)
        if time.monotonic() > reminder:
            say(f"  not ready yet: {missing}")
            reminder = time.monotonic() + REMINDER_SECONDS
        time.sleep(0.1)


def refuse_broken(stack: Stack) -> None:
    """Raise StackFailed when a process of the stack ends again and again."""
    if stack.supervisor.process.poll() is not None:
        raise StackFailed(f"supervisord has ended:\n{logs.tail(stack.logs / 'supervisord.log')}")
    if name := supervisord.broken(stack.logs):
        raise StackFailed(
            f"{name} ends again and again. The end of its log:\n{logs.tail(stack.logs / f'{name}.log')}"
        )


def _missing(port: int) -> str:
    """Return the parts that are not ready yet, or an empty text when the stack is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        content = response.read()
        if response.status == 200:
            return ""
        parts = json.loads(content).get("parts", {})
        return ", ".join(name for name, works in parts.items() if not works) or f"HTTP {response.status}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"web does not answer ({error})"
    finally:
        connection.close()


def main() -> int:
    """Run the stack until Ctrl-C or SIGTERM, and return the exit status."""
    port = int(os.environ.get("PORT") or DEFAULT_PORT)
    # A shell script starts its background jobs with Ctrl-C ignored, and this program must end by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with up(name=f"run-{port}", port=port) as stack:
            say(_welcome(stack))
            stack.supervisor.process.wait()
            refuse_broken(stack)
    except (StackFailed, servers.LocalServicesFailed) as error:
        sys.stderr.write(f"zekron: {error}\n")
        return 1
    except (KeyboardInterrupt, SystemExit):
        say("Stopped.")
    return 0


def _welcome(stack: Stack) -> str:
    request = '{"prompt": "A serene mountain landscape at golden hour"}'
    return f"""
Ready:   {stack.url}
Key:     {stack.key}
Console: {stack.console}
Logs:    {stack.logs.relative_to(BASE_DIR)}

curl {stack.url}/v1/generate -H 'Authorization: Bearer {stack.key}' \\
  -H 'Content-Type: application/json' -d '{request}'

Press Ctrl-C to stop everything."""


if __name__ == "__main__":
    sys.exit(main())
