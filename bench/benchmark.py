"""The definition of a benchmark: two ways to do one thing, run in turn, and the figures of each round."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

# The value of each figure in one round, by the figure's name.
Samples = Mapping[str, float]
# One round; True lets B go first.
Round = Callable[[bool], Samples]
Clock = Callable[[], float]

ROUNDS: Final = 5


class Skipped(Exception):
    """The machine lacks something that the benchmark needs. The text is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a benchmark, with its bound and its aim. A figure without them only informs."""

    name: str
    at_least: float | None = None
    aim: float | None = None
    # For sizes and growth. `at_least` is then an upper bound.
    lower_is_better: bool = False
    unit: str = " ×"  # noqa: RUF001 (the sign for "times")

    def reaches(self, value: float, bound: float) -> bool:
        """Return True if the value is as good as the bound."""
        return value <= bound if self.lower_is_better else value >= bound


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A comparison of A, the usual alternative, with B, this project.

    `prepare` sets everything up, gives the round, and cleans up afterwards. It may raise Skipped.
    """

    code: str
    name: str
    a: str
    b: str
    clock: str
    figures: tuple[Figure, ...]
    prepare: Callable[[], AbstractContextManager[Round]]
    needs_database: bool = False
    # A benchmark that shows something else as context. It has no goals.
    is_context: bool = False
    # A large benchmark takes long, so it runs only by name.
    large: bool = False
    rounds: int = ROUNDS


def measure_cost(work: Callable[[], object], *, clock: Clock = time.process_time, times: int = 1) -> float:
    """Return the seconds of one call by the clock. The default is the processor time of all threads here."""
    started = clock()
    for _ in range(times):
        work()
    return (clock() - started) / times


def compare_in_turn(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    clock: Clock = time.process_time,
    times_a: int = 1,
    times_b: int = 1,
) -> Round:
    """Return a round that gives the seconds of both, and how many times as long A takes as B."""

    def measure(b_first: bool) -> Samples:
        seconds = {}
        for name in "BA" if b_first else "AB":
            work, times = (a, times_a) if name == "A" else (b, times_b)
            seconds[name] = measure_cost(work, clock=clock, times=times)
        return {**seconds, "ratio": seconds["A"] / seconds["B"]}

    return measure
