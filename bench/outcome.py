"""The outcome of a benchmark: each figure over all rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.benchmark import Benchmark, Figure, Samples


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure's values over the rounds, in their order."""

    figure: Figure
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median, which decides."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """Return whether the median reaches the aim or the bound, or misses the bound. An aim alone is never missed."""
        bound, aim = self.figure.at_least, self.figure.aim
        if bound is not None and not self.figure.reaches(self.median, bound):
            return "MISSED"
        if aim is not None and self.figure.reaches(self.median, aim):
            return "aim"
        return "" if bound is None else "at least"

    def describe(self) -> dict[str, Any]:
        """Return the figure for the results file."""
        return {
            "median": self.median,
            "samples": self.samples,
            "at_least": self.figure.at_least,
            "aim": self.figure.aim,
            "lower_is_better": self.figure.lower_is_better,
            "reached": self.verdict,
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A benchmark with its rounds."""

    benchmark: Benchmark
    rounds: tuple[Samples, ...]

    @property
    def measured(self) -> Sequence[Measured]:
        """Return the declared figures."""
        return [
            Measured(figure=figure, samples=tuple(samples[figure.name] for samples in self.rounds))
            for figure in self.benchmark.figures
        ]

    def seconds(self, side: str) -> float | None:
        """Return the median of side "A" or "B"; None if the figures do not compare seconds."""
        if side not in self.rounds[0]:
            return None
        return statistics.median(samples[side] for samples in self.rounds)

    def describe(self) -> dict[str, Any]:
        """Return the outcome for the results file, without the machine that it was measured on."""
        return {
            "a": self.benchmark.a,
            "b": self.benchmark.b,
            "clock": self.benchmark.clock,
            "seconds_a": self.seconds("A"),
            "seconds_b": self.seconds("B"),
            "figures": {measured.figure.name: measured.describe() for measured in self.measured},
        }


def run(benchmark: Benchmark) -> Outcome:
    """Run all rounds: A B, B A, A B, and so on. A warm-up round before them does not count."""
    with benchmark.prepare() as one_round:
        one_round(False)
        rounds = tuple(one_round(number % 2 == 1) for number in range(benchmark.rounds))
    return Outcome(benchmark=benchmark, rounds=rounds)
