"""Many lives, in a process and a database for each core; prints how far they are, and one line at the end."""

import multiprocessing
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, Final

from django.db import connection

from tests.simulation.faults import Fault
from tests.simulation.scenario import Scenario, theatre

PROGRESS_SECONDS: Final = 20.0
# A life takes less than a second; making a database takes some.
SILENCE_SECONDS: Final = 120.0


def simulate(*, seeds: range) -> int:
    """Lives them all until one violates something; the exit status."""
    # No thread and no connection is there yet that a fork could break.
    context = multiprocessing.get_context("fork")
    lives, stopped = context.Queue(), context.Event()
    core_count = min(os.cpu_count() or 1, len(seeds))
    processes = [
        context.Process(target=_live_each, args=(core, seeds[core::core_count], lives, stopped))
        for core in range(core_count)
    ]
    for process in processes:
        process.start()
    try:
        return _watch(lives, len(seeds), processes)
    finally:
        stopped.set()
        for process in processes:
            process.join()


def report(life: Scenario) -> str:
    """Tell what was violated in a scenario, how that came about, and how to see it again."""
    return "\n".join(
        (
            *life.trace,
            *(f"seed {life.seed}: {violation}" for violation in life.violations),
            f"To live it again: make simulate SIMULATE_FIRST={life.seed} SIMULATE_SEEDS=1",
        )
    )


def summary(*, happened: Counter[str], life_count: int, seconds: float) -> str:
    """One line about lives in which nothing was violated."""
    ends = ", ".join(f"{happened[status]} {status}" for status in ("completed", "failed", "cancelled"))
    fault_count = sum(happened[fault] for fault in Fault)
    return f"{life_count} lives, {fault_count} faults, {ends}: 0 violations, in {seconds:.0f} s"


def _watch(lives: "Queue[Any]", life_count: int, processes: Sequence[BaseProcess]) -> int:
    started_at = said_at = time.monotonic()
    happened: Counter[str] = Counter()
    for done in range(1, life_count + 1):
        try:
            life = lives.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            _say(f"Nothing is lived any more: {[process.exitcode for process in processes]}")
            return 1
        happened.update(life.happened)
        if life.violations:
            _say(report(life))
            return 1
        if time.monotonic() - said_at > PROGRESS_SECONDS:
            said_at = time.monotonic()
            _say(f"{done} of {life_count} lives")
    _say(summary(happened=happened, life_count=life_count, seconds=time.monotonic() - started_at))
    return 0


def _live_each(core: int, seeds: range, lives: "Queue[Any]", stopped: Event) -> None:
    with _database(core), theatre() as stage:
        for seed in seeds:
            if stopped.is_set():
                break
            life = stage.live(seed=seed)
            lives.put(life if life.violations else replace(life, trace=[]))
    if stopped.is_set():
        # What nobody reads any more must not keep this process.
        lives.cancel_join_thread()


@contextmanager
def _database(core: int) -> Iterator[None]:
    """Make a database of its own. Its name begins as a test's, which lets its ledger be emptied."""
    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"test_{name}_simulation_{core}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
