"""What processes have used of the processor, as Linux counts it: user and system, of all their threads."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Fields of proc_pid_stat(5), counted behind the name, which may hold anything: user and system, of the process itself
# (14 and 15) and of its children that have ended (16 and 17).
_PARENT = 1
_OWN, _OF_ENDED = slice(11, 13), slice(13, 15)


def seconds_of(pids: Iterable[int]) -> dict[int, float]:
    """The seconds so far of each process that lives."""
    return {pid: seconds for pid in pids if (seconds := _seconds(pid, _OWN)) is not None}


def seconds_of_children(pid: int, *, without: int) -> float:
    """What the children of a process have used in all, those that have ended among them, but for one."""
    living = seconds_of(child for child in _children(pid) if child != without)
    return sum(living.values()) + (_seconds(pid, _OF_ENDED) or 0.0)


def between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """What they used in all from one reading to the next; one that has come in between counts from its start."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def parent_of(pid: int) -> int:
    """Who has started the process."""
    return int(_fields(pid)[_PARENT])


def family_of(pid: int) -> list[int]:
    """The process and all that descend from it, children of any of their threads."""
    found = [pid]
    for each in found:
        found.extend(_children(each))
    return found


def _children(pid: int) -> list[int]:
    lists = (PROC / str(pid) / "task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def _seconds(pid: int, which: slice) -> float | None:
    try:
        fields = _fields(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return sum(map(int, fields[which])) / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
