"""Many scenarios, in a process and a database for each core, with their progress and one line at the end."""

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
from tests.simulation.scenario import Scenario, simulation

PROGRESS_SECONDS: Final = 20.0
# A guard that is gone shows in every other scenario, and nobody reads a thousand courses.
MAX_VIOLATED: Final = 10
# A scenario takes less than a second; making a database takes some.
SILENCE_SECONDS: Final = 120.0


def simulate(*, seeds: range) -> int:
    """Run them all, or until MAX_VIOLATED have violated something; return the exit status."""
    # No thread and no connection is there yet that a fork could break.
    context = multiprocessing.get_context("fork")
    scenarios, stopped = context.Queue(), context.Event()
    core_count = min(int(os.environ.get("SIMULATE_PROCESSES") or os.cpu_count() or 1), len(seeds))
    processes = [
        context.Process(target=_run_each, args=(core, seeds[core::core_count], scenarios, stopped))
        for core in range(core_count)
    ]
    for process in processes:
        process.start()
    try:
        return _watch(scenarios, len(seeds), processes)
    finally:
        stopped.set()
        for process in processes:
            process.join()


def report(scenario: Scenario) -> str:
    """Tell what was violated in a scenario, how that came about, and how to see it again."""
    return "\n".join(
        (
            *scenario.trace,
            *(f"seed {scenario.seed}: {violation}" for violation in scenario.violations),
            f"To run it again: make simulate SIMULATE_FIRST={scenario.seed} SIMULATE_SEEDS=1",
        )
    )


def summary(*, happened: Counter[str], scenario_count: int, seconds: float) -> str:
    """Return one line about scenarios in which nothing was violated."""
    ends = ", ".join(f"{happened[status]} {status}" for status in ("completed", "failed", "cancelled"))
    fault_count = sum(happened[fault] for fault in Fault)
    return f"{scenario_count} scenarios, {fault_count} faults, {ends}: 0 violations, in {seconds:.0f} s"


def _watch(scenarios: "Queue[Any]", scenario_count: int, processes: Sequence[BaseProcess]) -> int:
    started_at = said_at = time.monotonic()
    happened: Counter[str] = Counter()
    violated: list[int] = []
    for done in range(1, scenario_count + 1):
        try:
            scenario = scenarios.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            _say(f"No scenario ends any more: {[process.exitcode for process in processes]}")
            return 1
        happened.update(scenario.happened)
        if scenario.violations:
            violated.append(scenario.seed)
            _say(report(scenario))
        if len(violated) == MAX_VIOLATED:
            break
        if time.monotonic() - said_at > PROGRESS_SECONDS:
            said_at = time.monotonic()
            _say(f"{done} of {scenario_count} scenarios, {len(violated)} with violations")
    if violated:
        _say(f"{done} scenarios, seeds with violations: {violated}")
        return 1
    _say(summary(happened=happened, scenario_count=scenario_count, seconds=time.monotonic() - started_at))
    return 0


def _run_each(core: int, seeds: range, scenarios: "Queue[Any]", stopped: Event) -> None:
    with _database(core), simulation() as simulated:
        for seed in seeds:
            if stopped.is_set():
                break
            scenario = simulated.run(seed=seed)
            scenarios.put(scenario if scenario.violations else replace(scenario, trace=[]))
    if stopped.is_set():
        # Results that nobody reads any more must not keep this process.
        scenarios.cancel_join_thread()


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
