"""Faults that may happen at a gate, and how often each does so in one scenario."""

import random
from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """One way in which a step goes wrong."""

    KILLED = "the process is killed"
    FROZEN = "the process is frozen"
    RELIEVED = "the process is frozen until another has its work"
    STALLED = "the thread stands still"
    CUT = "the connection is cut"
    UNANSWERED = "it is done, and the answer lost"
    BROKEN = "it fails"
    SLOW = "it takes long"
    LOST = "it is lost"
    DOUBLED = "it comes twice"
    LATE = "it comes late"
    JUMP = "the clock jumps"
    WIPED = "all messages are wiped"
    STOPPED = "the process is told to stop"


# How often each happens, where it can happen, in a scenario that is neither spared nor beset by it.
USUAL: Final = {
    Fault.KILLED: 0.006,
    Fault.FROZEN: 0.008,
    Fault.RELIEVED: 0.06,
    Fault.STALLED: 0.008,
    Fault.CUT: 0.006,
    Fault.UNANSWERED: 0.01,
    Fault.BROKEN: 0.05,
    Fault.SLOW: 0.1,
    Fault.LOST: 0.15,
    Fault.DOUBLED: 0.2,
    Fault.LATE: 0.2,
    Fault.JUMP: 0.004,
    Fault.WIPED: 0.004,
    Fault.STOPPED: 0.05,
}
# Scenarios with only some faults, and these often, reach states that a little of everything does not.
WEIGHTS: Final = (0, 0, 1, 1, 4)


class Temper:
    """Numbers of each fault in one scenario; `calm` ends them all."""

    def __init__(self, dice: random.Random, *, beset_by: Collection[Fault] = ()) -> None:
        """Make the faults that beset the scenario frequent and all others impossible; without any, the dice decide."""
        self._dice = dice
        weights = {fault: dice.choice(WEIGHTS) for fault in USUAL}
        if beset_by:
            weights = {fault: max(WEIGHTS) if fault in beset_by else 0 for fault in USUAL}
        self._rates = {fault: rate * weights[fault] for fault, rate in USUAL.items()}

    def draw(self, possible: tuple[Fault, ...]) -> Fault | None:
        """One of the possible faults, or mostly none."""
        drawn = self._dice.random()
        for fault in possible:
            drawn -= self._rates[fault]
            if drawn < 0:
                return fault
        return None

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self._rates = dict.fromkeys(self._rates, 0.0)
