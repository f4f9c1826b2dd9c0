"""Every kind of fault, by its name. A fault breaks something and, where that does not heal by itself, mends it."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.chaos.client_log import ClientLog
from tests.chaos.clients import Clients
from tests.chaos.cluster import GPUS, Cluster
from tests.chaos.network import Hosts


class TooEarly(Exception):
    """There is nothing yet that this fault could break."""


@dataclass(kw_only=True)
class Rig:
    """The parts that a fault works on. `chance` decides all that is left to chance, so that a seed replays it."""

    cluster: Cluster
    client_log: ClientLog
    clients: Clients
    chance: random.Random
    calmed: threading.Event = field(default_factory=threading.Event)
    _engaged: set[str] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def hosts(self) -> Hosts:
        """The cluster's network of hosts. Only a cluster that has one gets the faults of hosts."""
        assert isinstance(self.cluster.network, Hosts)
        return self.cluster.network

    def with_chance(self, chance: random.Random) -> "Rig":
        """Return a copy with a chance of its own, whose choices do not depend on who else chooses meanwhile."""
        return replace(self, chance=chance)

    def some_worker(self) -> str:
        """Choose a GPU worker that no other fault is at work on, while there is one."""
        first = self.chance.randrange(len(GPUS))
        order = [*GPUS[first:], *GPUS[:first]]
        return next((name for name in order if name not in self._engaged), order[0])

    def later(self, seconds: float, work: Callable[[], object], *, engages: str = "") -> None:
        """Do the work after this many seconds, or as soon as it is to become calm; until then `engages` is taken."""

        def wait() -> None:
            self.calmed.wait(seconds)
            work()
            self._engaged.discard(engages)

        if engages:
            self._engaged.add(engages)
        thread = threading.Thread(target=wait, name="fault", daemon=True)
        self._threads.append(thread)
        thread.start()

    def pause(self, least_seconds: float, most_seconds: float) -> None:
        """Lets it stay broken for some time."""
        self.calmed.wait(self.chance.uniform(least_seconds, most_seconds))

    def calm(self) -> None:
        """End all faults that take time, and return when they have ended."""
        self.calmed.set()
        for thread in self._threads:
            thread.join()


Fault = Callable[[Rig], None]
KINDS: dict[str, Fault] = {}


def kind(name: str) -> Callable[[Fault], Fault]:
    """List the function as the fault of this name."""

    def listed(fault: Fault) -> Fault:
        assert name not in KINDS
        KINDS[name] = fault
        return fault

    return listed
