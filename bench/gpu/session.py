"""One run on a GPU: its remaining time, its outcomes and its errors."""

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.benchmark import Benchmark
from bench.gpu.context import Context
from bench.gpu.report import Report
from bench.outcome import Outcome

# A benchmark gets this share of the remaining time, so that later ones have their turn.
SHARE: Final = 0.4


class Session:
    """One run: its remaining time, its outcomes and its errors."""

    def __init__(self, context: Context, report: Report, *, ends_at: float) -> None:
        """Begin nothing more after `ends_at`, on the monotonic clock."""
        self._context = context
        self._report = report
        self._ends_at = ends_at
        self.outcomes: list[Outcome] = []
        self.errors: list[str] = []

    @property
    def left_seconds(self) -> float:
        """Return the remaining seconds of the whole run."""
        return self._ends_at - time.monotonic()

    def attempt(self, name: str, work: Callable[[], object], *, needs_seconds: float = 0.0) -> None:
        """Do the work unless too little time is left. An error is kept for the end and stops nothing else."""
        if self.left_seconds < needs_seconds:
            self.errors.append(f"{name}: skipped, because only {self.left_seconds:.0f} s was left")
            return
        say(f"{name} … ({self.left_seconds:.0f} s left)")
        try:
            work()
        except Exception:  # noqa: BLE001
            # The other benchmarks are of use without this one.
            self.errors.append(f"{name}: {traceback.format_exc(limit=-6)}")

    def measure(self, benchmark: Benchmark) -> None:
        """Run a warm-up round, and then as many rounds as the benchmark has or as there is time for."""
        until = time.monotonic() + SHARE * self.left_seconds
        with benchmark.prepare() as one_round:
            one_round(False)
            rounds = [one_round(True)]
            while len(rounds) < benchmark.rounds and time.monotonic() < until:
                rounds.append(one_round(len(rounds) % 2 == 0))
        self.outcomes.append(Outcome(benchmark=replace(benchmark, rounds=len(rounds)), rounds=tuple(rounds)))
        self._report.add(self.outcomes[-1], self._context)

    def note(self, name: str, seen: Callable[[], dict[str, object]]) -> None:
        """Keep and print a finding that is no benchmark."""
        result = seen()
        self._report.note(name, result)
        for key, value in result.items():
            rows = value if isinstance(value, list) else [value]
            say("\n".join([f"  {key}:", *(f"    {row}" for row in rows)]))


def say(line: str) -> None:
    """Print the line at once, so that a run that is cut off has reported its progress."""
    print(line, flush=True)
