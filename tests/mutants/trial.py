"""One trial: a private copy of the project with one mutation, and what its tests say, on servers of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants import descendants
from tests.mutants.mutation import Mutation

ROOT = Path(__file__).resolve().parent.parent.parent
# A mutant that makes its tests stand still has not been found by them.
LIMIT_SECONDS = 600
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", ".*_cache", ".hypothesis", "node_modules")
KILLED, SURVIVED, NOT_FOUND, BROKEN = "killed", "SURVIVED", "NOT FOUND", "BROKEN"


class Result(NamedTuple):
    """The end of a trial, and the evidence: the first test that went red, or why there is none."""

    verdict: str
    said: str
    seconds: float


def run(mutation: Mutation, *, database_url: str) -> Result:
    """Apply the mutation and run its tests. `database_url` names a database that nobody else uses."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zekron-mutant-") as folder:
        copy = _copy(folder)
        changed = copy / mutation.path
        content = changed.read_text() if changed.exists() else ""
        count = content.count(mutation.text)
        if count != 1:
            return Result(NOT_FOUND, f"{count} times in {mutation.path}: {mutation.text.strip()!r}", 0)
        changed.write_text(content.replace(mutation.text, mutation.without))
        verdict, said = _judged(*_tested(copy, mutation.tests, database_url))
    return Result(verdict, said, time.monotonic() - started)


def run_unchanged(tests: Sequence[str], *, database_url: str) -> str:
    """Run the tests in a copy without a mutation, and return what pytest says; empty when all is well."""
    with tempfile.TemporaryDirectory(prefix="zekron-mutant-") as folder:
        status, output = _tested(_copy(folder), tests, database_url)
    return output if status else ""


def _copy(folder: str) -> Path:
    return Path(shutil.copytree(ROOT, Path(folder) / "copy", ignore=NOT_COPIED))


def _tested(copy: Path, tests: Sequence[str], database_url: str) -> tuple[int | None, str]:
    """Run pytest; return its exit status, None if it had to be ended, and its output."""
    # Without REDIS_URL the tests start a Redis under the copy's own folder.
    without_redis = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    # A pipe would stay open for as long as any process that the tests started.
    with (copy.parent / "output").open("w+") as output:
        with descendants.all_ended(copy) as mark:
            pytest = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
                cwd=copy,
                env={**without_redis, **mark, "DATABASE_URL": database_url, "DEBUG": "1"},
                stdout=output,
                stderr=output,
            )
            is_over = _is_over(pytest)
        pytest.kill()
        status = pytest.wait()
        output.seek(0)
        return (status, output.read()) if is_over else (None, f"not over after {LIMIT_SECONDS} s")


def _is_over(pytest: "subprocess.Popen[bytes]") -> bool:
    try:
        pytest.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _judged(status: int | None, output: str) -> tuple[str, str]:
    if status == 0:
        return SURVIVED, output.strip().rpartition("\n")[2]
    summary = output.rpartition("short test summary info")[2]
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", summary, re.MULTILINE)
    # A test that could not even begin says nothing of the mutation.
    if status == 1 and failed and not re.search(r"^ERROR ", summary, re.MULTILINE):
        return KILLED, failed[1]
    return BROKEN, output[-2000:]
