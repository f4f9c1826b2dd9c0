"""Processes around a benchmark. They die with it, log into its folder, and are awaited until they answer."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from zekron_api.local import commands, redis_server

ROOT: Final = Path(__file__).resolve().parent.parent
START_SECONDS: Final = 180
STOP_SECONDS: Final = 90

Process = subprocess.Popen[bytes]


class NotUp(Exception):
    """A process that the benchmark needs has ended, or does not answer."""


def start(
    name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
) -> Process:
    """Start the command in a session of its own, with its output in `<name>.log`."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            commands.tied(command, signal_name="KILL"),
            cwd=ROOT,
            env=os.environ if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def end(process: Process) -> None:
    """Terminate the process, and kill the rest of its session when it has ended or after a time limit."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=STOP_SECONDS)
    kill(process)


def kill(process: Process) -> None:
    """Send SIGKILL to the process and to all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def run(
    name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run the process for as long as the block runs."""
    process = start(name, command, folder=folder, environment=environment)
    try:
        yield process
    finally:
        end(process)


def build_python_command(*arguments: str) -> list[str]:
    """Return a command of this Python."""
    return [sys.executable, *arguments]


def build_redis_command(*, port: int, folder: Path) -> list[str]:
    """Return a command of the project's Redis on this port, without persistence."""
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    return [redis_server.binary(), *where, "--save", ""]


def wait_until_up(
    process: Process, *, port: int, path: str, log: Path, is_ready: Callable[[bytes], bool] = bool
) -> None:
    """Return once GET gives 200 with a body that is ready. Raise NotUp with the end of the log."""
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        if _is_up(port, path, is_ready):
            return
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise NotUp(f"{log.stem} is not up:\n{said}")


def _is_up(port: int, path: str, is_ready: Callable[[bytes], bool]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == 200 and is_ready(response.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
