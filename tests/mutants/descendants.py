"""Processes that a trial started, directly or not, and their end. Servers leave their parent's group and session."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

VARIABLE: Final = "ZEKRON_MUTANT"
# PostgreSQL and Redis write to disk before they end. Any process that still runs afterwards is killed.
ENDING_SECONDS: Final = 10
# A process that is ended may have started another one a moment before.
ROUNDS: Final = 5


@contextmanager
def all_ended(folder: Path) -> Iterator[Mapping[str, str]]:
    """Yield variables for the processes that the block starts, and end these and their descendants after it."""
    try:
        yield {VARIABLE: str(folder)}
    finally:
        for _ in range(ROUNDS):
            if not (left := find(folder)):
                break
            _end(left)


def find(folder: Path) -> list[psutil.Process]:
    """Return the live processes that have the folder's variable, or that work inside the folder."""
    return [process for process in psutil.process_iter() if _belongs_to(process, folder)]


def _belongs_to(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # PostgreSQL writes its title over its variables.
        is_marked = process.environ().get(VARIABLE) == str(folder)
        return is_marked or Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        # It has ended just now, or it belongs to another user and is none of ours.
        return False


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=ENDING_SECONDS)
    for process in alive:
        _signal(process.kill)
    psutil.wait_procs(alive, timeout=ENDING_SECONDS)


def _signal(send: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send()
