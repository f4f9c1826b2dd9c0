"""The processor time of processes, as Linux counts it: user and system, of all their threads."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Fields of proc_pid_stat(5), counted behind the name, which may hold anything: user and system, of the process itself
# (14 and 15) and of its children that have ended (16 and 17).
_PARENT: Final = 1
_OWN, _OF_ENDED = slice(11, 13), slice(13, 15)


def read_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Return the seconds so far of each process that lives."""
    return {pid: seconds for pid in pids if (seconds := _read_seconds(pid, _OWN)) is not None}


def read_seconds_of_children(pid: int, *, without: int) -> float:
    """Return the seconds of all children of a process, dead or alive, except one."""
    living = read_seconds(child for child in _list_children(pid) if child != without)
    return sum(living.values()) + (_read_seconds(pid, _OF_ENDED) or 0.0)


def sum_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the seconds used between two readings. A process that is new in the second counts from its start."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def find_parent(pid: int) -> int:
    """Return the process that has started this one."""
    return int(_read_fields(pid)[_PARENT])


def find_descendants(pid: int) -> list[int]:
    """Return the process and all its descendants, started by any of their threads."""
    found = [pid]
    for each in found:
        found.extend(_list_children(each))
    return found


def _list_children(pid: int) -> list[int]:
    lists = (PROC / str(pid) / "task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def _read_seconds(pid: int, which: slice) -> float | None:
    try:
        fields = _read_fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return sum(map(int, fields[which])) / os.sysconf("SC_CLK_TCK")


def _read_fields(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
