"""Injects fault after fault: all kinds in an order that the seed decides, then all again, until there were enough.

The faults of servers, of processes and of hosts come in lanes of their own at the same time, so that a worker also dies
while Redis is away.
"""

import importlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
import redis

from tests.chaos.faults import KINDS, Rig, TooEarly

LANES = (("servers",), ("processes", "pictures", "clocks"), ("hosts",))
# A lull before the next fault, so that some work is done between two; and how long to wait for the clients at most.
LULL_SECONDS = (0.5, 3.0)
WAIT_SECONDS = 15


class FaultSchedule:
    """Counts what it injected, and writes it down with the time."""

    def __init__(self, *, rig: Rig, seed: int, fault_count: int, order_count: int, only: str) -> None:
        """`only` is a part of the names of the kinds that are wanted; empty for all."""
        lanes = [[name for name in kinds if only in name] for kinds in lanes_of_kinds()]
        if not rig.cluster.network.hosts:
            # On one machine there are no hosts that could be cut off.
            del lanes[LANES.index(("hosts",))]
        kind_count = max(1, sum(map(len, lanes)))
        self._lanes = [
            _Lane(rig, f"{seed} {place}", kinds, round(fault_count * len(kinds) / kind_count), order_count)
            for place, kinds in enumerate(lanes)
        ]

    @property
    def injected(self) -> Counter[str]:
        """Count how often each kind was injected."""
        return sum((lane.injected for lane in self._lanes), Counter())

    def inject_all(self) -> None:
        """Inject them all, in step with the clients, and return when all but those that take long have been mended."""
        with ThreadPoolExecutor(len(self._lanes), thread_name_prefix="faults") as pool:
            for lane in [pool.submit(lane.inject_all) for lane in self._lanes]:
                lane.result()


class _Lane:
    def __init__(self, rig: Rig, seed: str, kinds: Sequence[str], fault_count: int, order_count: int) -> None:
        self.injected: Counter[str] = Counter()
        self._rig = rig
        self._seed = seed
        self._kinds = kinds
        self._fault_count = fault_count
        self._order_count = order_count

    def inject_all(self) -> None:
        for name, chance in choices(self._seed, self._kinds):
            if self.injected.total() >= self._fault_count:
                return
            self._wait_for_the_clients()
            rig = self._rig.with_chance(chance)
            self._inject(name, rig)
            rig.pause(*LULL_SECONDS)

    def _inject(self, name: str, rig: Rig) -> None:
        try:
            KINDS[name](rig)
        except (TooEarly, psycopg.Error, redis.RedisError):
            # What it needs is itself away at this moment; its turn comes again.
            return
        self.injected[name] += 1
        with (rig.cluster.folder / "log" / "faults.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {name}\n")

    def _wait_for_the_clients(self) -> None:
        due = self._order_count * self.injected.total() // self._fault_count
        give_up_at = time.monotonic() + WAIT_SECONDS
        while self._rig.client_log.accepted_count() < due and time.monotonic() < give_up_at:
            time.sleep(0.2)


def choices(seed: str, kinds: Sequence[str]) -> Iterator[tuple[str, random.Random]]:
    """Yield kinds without end, each as often as any other, and for each fault a chance of its own."""
    order, numbers = random.Random(seed), count()
    while kinds:
        for name in order.sample(kinds, len(kinds)):
            yield name, random.Random(f"{seed} {next(numbers)}")


def lanes_of_kinds() -> list[list[str]]:
    """Return the names of all kinds, in their lanes."""
    return [[name for module in modules for name in _kinds_of(module)] for modules in LANES]


def _kinds_of(module: str) -> list[str]:
    name = importlib.import_module(f"tests.chaos.faults.{module}").__name__
    return sorted(kind for kind, fault in KINDS.items() if fault.__module__ == name)
