"""What processes have used of the processor, as Linux counts it: user and system, of all their threads."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may hold anything.
_USER, _SYSTEM = 11, 12


def seconds_of(pids: Iterable[int]) -> dict[int, float]:
    """The seconds so far of each process that lives."""
    return {pid: seconds for pid in pids if (seconds := _seconds(pid)) is not None}


def between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """What they used in all from one reading to the next; one that has come in between counts from its start."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def family_of(pid: int) -> list[int]:
    """The process and all that descend from it, children of any of their threads."""
    found = [pid]
    for each in found:
        for children in (PROC / str(each) / "task").glob("*/children"):
            found.extend(int(child) for child in children.read_text().split())
    return found


def _seconds(pid: int) -> float | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")
