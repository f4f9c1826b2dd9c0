"""What a benchmark is: two ways to do one thing, run in turn, and the figures that come of each round."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

# A figure's name → what it was in this round.
Samples = Mapping[str, float]
# One round; True lets B go first.
Round = Callable[[bool], Samples]
Clock = Callable[[], float]

ROUNDS: Final = 5


class Skipped(Exception):
    """What the benchmark needs is not on this machine and cannot be had; the text is one line that says what."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a benchmark, the least that it should be and what is aimed for; neither for what only informs."""

    name: str
    at_least: float | None = None
    aim: float | None = None
    # Of sizes and growth: `at_least` is then the most that it may be.
    lower_is_better: bool = False
    unit: str = " ×"  # noqa: RUF001 (that is what it is)

    def reaches(self, value: float, bound: float) -> bool:
        """Whether the value is as good as the bound."""
        return value <= bound if self.lower_is_better else value >= bound


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`ready` sets the scene, gives the round, and clears up, or raises LeftOut. A is what one would have otherwise, B
    is ours."""

    code: str
    name: str
    a: str
    b: str
    clock: str
    figures: tuple[Figure, ...]
    ready: Callable[[], AbstractContextManager[Round]]
    needs_database: bool = False
    # Takes so long that it is run only when it is named.
    large: bool = False
    rounds: int = ROUNDS


def cost(work: Callable[[], object], *, clock: Clock = time.process_time, times: int = 1) -> float:
    """Seconds that one call takes by the clock: unless said otherwise, the processor's, of all threads here."""
    started = clock()
    for _ in range(times):
        work()
    return (clock() - started) / times


def in_turn(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    clock: Clock = time.process_time,
    times_a: int = 1,
    times_b: int = 1,
) -> Round:
    """A round of both: seconds of each, and how many times as many A takes."""

    def measure(b_first: bool) -> Samples:
        seconds = {}
        for name in "BA" if b_first else "AB":
            work, times = (a, times_a) if name == "A" else (b, times_b)
            seconds[name] = cost(work, clock=clock, times=times)
        return {**seconds, "ratio": seconds["A"] / seconds["B"]}

    return measure
