"""What came of a benchmark: each figure over all rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.benchmark import Benchmark, Figure, Samples


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure over the rounds, in their order."""

    figure: Figure
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """What counts."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """Whether the median reaches what was aimed for, at least what it must, or neither."""
        if self.figure.at_least is None:
            return ""
        if not self.figure.reaches(self.median, self.figure.at_least):
            return "MISSED"
        aimed_for = self.figure.aim is not None and self.figure.reaches(self.median, self.figure.aim)
        return "aim" if aimed_for else "at least"

    def described(self) -> dict[str, Any]:
        """What is kept of it."""
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
    """A benchmark with its figures, and the seconds of A and B where they were compared."""

    benchmark: Benchmark
    rounds: tuple[Samples, ...]

    @property
    def measured(self) -> Sequence[Measured]:
        """The declared figures."""
        return [
            Measured(figure=figure, samples=tuple(samples[figure.name] for samples in self.rounds))
            for figure in self.benchmark.figures
        ]

    def seconds(self, side: str) -> float | None:
        """The median of side "A" or "B"; None where the figures are of something else."""
        if side not in self.rounds[0]:
            return None
        return statistics.median(samples[side] for samples in self.rounds)

    def described(self) -> dict[str, Any]:
        """What is kept of it, whatever it was measured on."""
        return {
            "a": self.benchmark.a,
            "b": self.benchmark.b,
            "clock": self.benchmark.clock,
            "seconds_a": self.seconds("A"),
            "seconds_b": self.seconds("B"),
            "figures": {measured.figure.name: measured.described() for measured in self.measured},
        }


def run(benchmark: Benchmark) -> Outcome:
    """All its rounds: A B, B A, A B, and so on, after one that does not count, in which everything is touched once."""
    with benchmark.ready() as one_round:
        one_round(False)
        rounds = tuple(one_round(number % 2 == 1) for number in range(benchmark.rounds))
    return Outcome(benchmark=benchmark, rounds=rounds)
