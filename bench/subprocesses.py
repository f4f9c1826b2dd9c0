"""Processes around a benchmark: they die with it, log into its folder, and are waited for until they answer."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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
    """Starts it in a session of its own; what it says is in `<name>.log`."""
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
    """Asks it to end, and kills what is left of its session once it has, or has not for long."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=STOP_SECONDS)
    kill(process)


def kill(process: Process) -> None:
    """SIGKILL to it and to all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(
    name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """The process for as long as the block runs."""
    process = start(name, command, folder=folder, environment=environment)
    try:
        yield process
    finally:
        end(process)


def python(*arguments: str) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *arguments]


def redis(*, port: int, folder: Path) -> list[str]:
    """A command of the project's Redis, on this port, which keeps nothing."""
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    return [redis_server.binary(), *where, "--save", ""]


def wait_until_up(process: Process, *, port: int, path: str, log: Path) -> None:
    """Returns once GET says 200; raises NotUp with the end of its log."""
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        if _answers(port, path):
            return
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise NotUp(f"{log.stem} is not up:\n{said}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
