"""Actors of a simulation: each is a thread of a process, with the gates at which it may be stopped or struck."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from tests.simulation import sessions
from tests.simulation.bodies import Body
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulator

# So long a process may stand still until another takes its work over.
MAX_RELIEFS: Final = timedelta(minutes=3)

STANDING: Final = {Fault.FROZEN, Fault.STALLED, Fault.RELIEVED}

_here = threading.local()


class Killed(BaseException):
    """The process of this thread has been killed: no `except Exception` of the code under test may see it."""


def current() -> "Actor | None":
    """Return the actor whose thread this is; None outside a simulation."""
    return getattr(_here, "actor", None)


class Process:
    """A group of actors that dies and freezes together, on one host with its own clock."""

    def __init__(self, name: str, *, clock_ahead: timedelta = timedelta(0)) -> None:
        self.name = name
        self.clock_ahead = clock_ahead
        self.is_dead = False
        self.frozen_until: datetime | None = None
        self.is_relieved = False
        # How often it was started anew: what an earlier process claimed is not this one's.
        self.starts = 0
        self.members: list[Actor] = []
        self.prepare: Callable[[], None] = lambda: None

    @property
    def is_cleared(self) -> bool:
        """Dead, and none of its threads is left in the code under test."""
        return self.is_dead and all(member.is_down or member.is_done for member in self.members)

    def start(self) -> None:
        """Start it anew, with nothing of what it knew."""
        self.is_dead = False
        self.starts += 1
        for member in self.members:
            member.is_down = False
        self.prepare()


class Actor:
    """One thread of a process. It moves in its turn only, and passes a gate before and after whatever others see."""

    def __init__(
        self,
        simulator: "Simulator",
        name: str,
        process: Process,
        script: "Callable[[Actor], None]",
        body: Body,
    ) -> None:
        self.simulator, self.name, self.process = simulator, name, process
        self.wakes_at = simulator.now
        self.is_down = self.is_done = False
        # The end of the last time that a fault, or the start of its process, made this thread stand still.
        self.stalled_until = simulator.now
        # In the transaction that is open, or in the statement that was just executed.
        self.has_written = False
        # What it is about: a client has a wish, a worker its heartbeat.
        self.role: Any = None
        self._script, self._body = script, body
        process.members.append(self)
        body.take(self._play)

    def __repr__(self) -> str:
        return self.name

    @property
    def ready_at(self) -> datetime:
        """From when on it may move."""
        frozen_until = self.process.frozen_until
        return frozen_until if frozen_until and frozen_until > self.wakes_at else self.wakes_at

    def step(self) -> None:
        """Move it to its next pause."""
        self._body.step()

    def gate(self, what: str, *possible: Fault) -> Fault | None:
        """Let another go on first, this process die or freeze, or the step go wrong.

        Only what the caller has to act upon is returned. Nobody else moves inside a transaction: it may hold locks, for
        which the others would wait in PostgreSQL and not here. There a process may only die, or lose its connection.
        """
        self._die_if_killed()
        is_free = not sessions.in_transaction()
        self.simulator.pass_gate(self, what, is_free)
        if is_free:
            struck = self.simulator.temper.draw((*possible, Fault.KILLED, Fault.FROZEN, Fault.STALLED))
        else:
            struck = self.simulator.temper.draw(
                (*(fault for fault in possible if fault not in STANDING), Fault.KILLED)
            )
        if struck is not None:
            self.simulator.strike(self, struck)
        if struck == Fault.KILLED:
            self.die()
        if struck in STANDING:
            self._stand_still(struck)
        elif is_free and self.simulator.dice.random() < self.simulator.switch_rate:
            self._pause()
        return struck if struck in possible else None

    def sleep(self, seconds: float) -> None:
        """Let the others move until the simulator's clock is this much further."""
        self._die_if_killed()
        assert not sessions.in_transaction(), "a transaction is open while its process waits"
        self.wakes_at = self.simulator.now + timedelta(seconds=seconds)
        self._pause()

    def stall(self, seconds: float) -> None:
        """Sleep because something takes long or was away, which excuses what is late meanwhile."""
        self.stalled_until = self.simulator.now + timedelta(seconds=seconds)
        self.sleep(seconds)

    def die(self) -> None:
        """Take the whole process along. The transaction is gone before anybody else looks."""
        self.process.is_dead = True
        self.has_written = False
        sessions.roll_back()
        raise Killed

    def _die_if_killed(self) -> None:
        if self.process.is_dead:
            self.die()

    def _stand_still(self, struck: Fault) -> None:
        until = self.simulator.now + timedelta(seconds=self.simulator.dice.randint(1, 120))
        if struck == Fault.STALLED:
            self.wakes_at = self.stalled_until = until
        elif struck == Fault.FROZEN:
            self.process.frozen_until = until
        else:
            self.process.frozen_until = self.simulator.now + MAX_RELIEFS
            self.process.is_relieved = True
        self._pause()

    def _pause(self) -> None:
        self._body.pause()
        self._die_if_killed()

    def _play(self) -> None:
        _here.actor = self
        while not (self.is_done or self.simulator.is_over):
            try:
                self._script(self)
                self.is_done = True
            except Killed:
                connections.close_all()
                self.is_down = True
                self._body.pause()
            except Exception as error:  # noqa: BLE001 (whatever it is, no process may raise it)
                self.simulator.violate(f"{self.name} raised {error!r}", error)
                self.is_done = True
        self.is_done = True
        _here.actor = None
