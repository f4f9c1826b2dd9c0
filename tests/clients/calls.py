"""Programs that call the service through a client that others wrote. Calls and replies are lines of JSON."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients import node
from tests.processes import ROOT

FOLDER = Path(__file__).parent
# No call of a test takes as long.
TIMEOUT_SECONDS = 90


class Refused(Exception):
    """The client raised an error. `error` describes it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


class Program:
    """A running program, which takes several calls at once."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def start(self, call: str, **arguments: Any) -> "Future[dict[str, Any]]":
        """Start a call, and return the future of its result, which raises Refused for an error."""
        number, future = next(self._numbers), Future[dict[str, Any]]()
        self._waiting[number] = future
        line = json.dumps({"id": number, "call": call, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return future

    def call(self, call: str, **arguments: Any) -> dict[str, Any]:
        """Return the result of a call. Raise Refused."""
        return self.start(call, **arguments).result(TIMEOUT_SECONDS)

    def error_of(self, call: str, **arguments: Any) -> dict[str, Any]:
        """Return what describes the error of a call, which must fail."""
        error = self.start(call, **arguments).exception(TIMEOUT_SECONDS)
        assert isinstance(error, Refused), error
        return error.error

    def _read(self) -> None:
        for line in self._process.stdout:
            reply = json.loads(line)
            future = self._waiting.pop(reply["id"])
            if "error" in reply:
                future.set_exception(Refused(reply["error"]))
            else:
                future.set_result(reply["result"])
        for future in self._waiting.values():
            future.set_exception(RuntimeError("the program has ended"))


@contextmanager
def in_node(program: str, *, packages: Sequence[str]) -> Iterator[Program]:
    """Run a program of this folder for Node, which needs these packages. Skip the test where one is missing."""
    node.require(*packages)
    with _running([str(node.find()), str(FOLDER / program)]) as running:
        yield running


@contextmanager
def in_python(program: str, *, python: Path | str = sys.executable) -> Iterator[Program]:
    """Run a module of this package with this Python."""
    with _running([str(python), "-m", f"{__package__}.{program}"]) as running:
        yield running


@contextmanager
def _running(command: Sequence[str]) -> Iterator[Program]:
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
