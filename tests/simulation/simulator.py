"""One seeded simulator: its clock, whose turn it is, what goes wrong, and the trace of what was done."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from tests.simulation.actors import Actor, Process
from tests.simulation.faults import Fault, Temper

START: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
# A scenario that takes longer is a loop.
MAX_GATES: Final = 20_000
# In a scenario that is beset by a few faults they last as long as a few generations take.
MAX_TROUBLE_GATES: Final = 400
# Once nothing goes wrong any more: a deadline, and what a client and a lease may wait besides.
MAX_QUIET_GATES: Final = timedelta(minutes=20)
JUMPS_SECONDS: Final = (-20, 5, 31, 31, 61, 120, 700)


class Line(NamedTuple):
    """One step of the trace: the actor, the step and the time by the simulator's clock."""

    at: datetime
    who: str
    what: str

    def __str__(self) -> str:
        return f"{(self.at - START).total_seconds():10.3f}  {self.who:<9}  {self.what}"


class Simulator:
    """Every choice comes from the seed, and only one actor moves at a time: so one seed is one course of events."""

    def __init__(self, *, seed: int, beset_by: Collection[Fault] = ()) -> None:
        self.dice = random.Random(seed)
        self.temper = Temper(self.dice, beset_by=beset_by)
        self.now = START
        self.switch_rate = self.dice.choice((0.05, 0.2, 0.5))
        self.trace: list[Line] = []
        self.violations: list[str] = []
        self.happened: Counter[str] = Counter()
        self.is_over = False
        self.calm_since: datetime | None = None
        self.actors: list[Actor] = []
        # What is told of each change of the database, and of the wiping of Redis.
        self.commit_checker: Callable[[Actor], None] = lambda _: None
        self.when_wiped: Callable[[], None] = lambda: None
        self._names: dict[int, str] = {}
        self._gates_passed = 0
        self._gates_of_trouble = MAX_TROUBLE_GATES if beset_by else self.dice.randint(60, 300)

    def run(self, *, is_quiet: Callable[[], bool], find_late: Callable[[datetime], Iterator[str]]) -> None:
        """Lets them all move until the trouble is over and then all is quiet, or something is violated.

        `find_late` yields the promised times that have passed, once it is told since when nothing goes wrong.
        """
        while unfinished := [actor for actor in self.actors if not actor.is_done]:
            if self.calm_since is None and self._gates_passed > self._gates_of_trouble:
                self._calm()
            if self.calm_since is not None and not self.is_over:
                for problem in find_late(self.calm_since):
                    self.violate(problem)
                self._end_if(is_quiet(), self.calm_since)
            if not self._bury(unfinished):
                self._move(unfinished)

    def pass_gate(self, actor: Actor, what: str, is_free: bool) -> None:
        """Note it, and let a moment go by; within a transaction it is always the same moment."""
        self._gates_passed += 1
        if self._gates_passed > MAX_GATES:
            self.violate("it does not come to an end")
            actor.die()
        if is_free:
            self.now += timedelta(milliseconds=self.dice.randint(1, 30))
        self.note(actor, what)

    def name_of(self, generation_id: int) -> str:
        """Return a name that is the same whenever the seed is."""
        return self._names.setdefault(generation_id, f"g{len(self._names) + 1}")

    def note(self, actor: Actor | None, what: str) -> None:
        """One line of the trace. It names nothing that differs between two runs of the same seed."""
        self.trace.append(Line(self.now, actor.name if actor else "", what))

    def strike(self, actor: Actor | None, fault: Fault) -> None:
        """Something goes wrong."""
        self.happened[fault] += 1
        self.note(actor, fault)

    def thaw(self, process: Process) -> None:
        """Another has claimed what it held: if it was frozen until then, it comes back while the other works."""
        if process.is_relieved:
            process.is_relieved = False
            process.frozen_until = self.now + timedelta(seconds=self.dice.randint(0, 5))

    def violate(self, what: str, error: Exception | None = None) -> None:
        """Note what must never be so, and end the scenario here, with everybody killed where they stand."""
        self.note(None, f"VIOLATED: {what}")
        self.violations.append(what)
        if error is not None:
            self.violations.append("".join(traceback.format_exception(error)))
        self.is_over = True
        for process in self._processes():
            process.is_dead = True

    def _calm(self) -> None:
        self.note(None, "from here on nothing goes wrong")
        self.temper.calm()
        self.calm_since = self.now

    def _end_if(self, is_quiet: bool, calm_since: datetime) -> None:
        if is_quiet:
            self.note(None, "all is quiet")
            self.is_over = True
            for actor in self.actors:
                actor.wakes_at = self.now
        elif self.now > calm_since + MAX_QUIET_GATES:
            self.violate("it does not quieten down")

    def _bury(self, unfinished: list[Actor]) -> bool:
        """Bring down all that was killed before anybody else moves, and start it again some time later."""
        for actor in unfinished:
            if actor.process.is_cleared:
                actor.process.start()
                for member in actor.process.members:
                    member.wakes_at = member.stalled_until = self.now + timedelta(
                        seconds=self.dice.randint(1, 20)
                    )
                return True
            if actor.process.is_dead and not actor.is_down:
                actor.step()
                return True
        return False

    def _move(self, unfinished: list[Actor]) -> None:
        if self._strike() == Fault.JUMP:
            self._jump(timedelta(seconds=self.dice.choice(JUMPS_SECONDS)))
        times = [actor.ready_at for actor in unfinished]
        self.now = max(self.now, min(times))
        ready = [actor for actor, ready_at in zip(unfinished, times, strict=True) if ready_at <= self.now]
        self.dice.choice(ready).step()

    def _jump(self, by: timedelta) -> None:
        """Set the clock. Set back, it makes nobody sleep for longer, because sleeps go by another clock."""
        self.now += by
        if by < timedelta(0):
            for actor in self.actors:
                actor.wakes_at += by
                actor.stalled_until += by
            for process in self._processes():
                process.frozen_until = process.frozen_until and process.frozen_until + by

    def _strike(self) -> Fault | None:
        struck = self.temper.draw((Fault.JUMP, Fault.WIPED))
        if struck:
            self.strike(None, struck)
        if struck == Fault.WIPED:
            self.when_wiped()
        return struck

    def _processes(self) -> list[Process]:
        return list(dict.fromkeys(actor.process for actor in self.actors))
