"""Injects fault after fault: all kinds in an order that the seed decides, then all again, until there were enough.

The servers' faults and all others come in two lanes at the same time, so that a worker also dies while Redis is away.
"""

import importlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import redis

from tests.chaos.faults import KINDS, Rig, TooEarly
from tests.chaos.journal import Journal

LANES = (("servers",), ("processes", "pictures", "clocks"))
# A lull before the next fault, so that some work is done between two; and how long to wait for the load at most.
LULL_SECONDS = (0.5, 3.0)
WAIT_SECONDS = 15


class Storm:
    """Counts what it injected."""

    def __init__(self, *, rig: Rig, seed: int, fault_count: int, order_count: int, only: str) -> None:
        """`only` is a part of the names of the kinds that are wanted; empty for all."""
        lanes = [
            [name for module in modules for name in _kinds_of(module) if only in name] for modules in LANES
        ]
        kind_count = max(1, sum(map(len, lanes)))
        shares = [round(fault_count * len(kinds) / kind_count) for kinds in lanes]
        self._order_count = order_count
        self._lanes = [
            _Lane(rig.with_chance(random.Random(f"{seed} {place}")), kinds, share)
            for place, (kinds, share) in enumerate(zip(lanes, shares, strict=True))
        ]

    @property
    def injected(self) -> Counter[str]:
        """How often each kind was injected."""
        return sum((lane.injected for lane in self._lanes), Counter())

    def rage(self, journal: Journal) -> None:
        """Injects them all, in step with the load, and returns when all but those that take long have been mended."""
        with ThreadPoolExecutor(len(self._lanes), thread_name_prefix="storm") as pool:
            for lane in [pool.submit(lane.rage, journal, self._order_count) for lane in self._lanes]:
                lane.result()


class _Lane:
    def __init__(self, rig: Rig, kinds: Sequence[str], count: int) -> None:
        self.injected: Counter[str] = Counter()
        self._rig = rig
        self._kinds = kinds
        self._count = count

    def rage(self, journal: Journal, order_count: int) -> None:
        waiting: list[str] = []
        while self.injected.total() < self._count:
            if not waiting:
                waiting = list(self._kinds)
                self._rig.chance.shuffle(waiting)
            self._wait_for(journal, order_count * self.injected.total() // self._count)
            self._inject(waiting.pop())
            self._rig.pause(*LULL_SECONDS)

    def _inject(self, name: str) -> None:
        try:
            KINDS[name](self._rig)
            self.injected[name] += 1
        except (TooEarly, psycopg.Error, redis.RedisError):
            # What it needs is itself away at this moment; its turn comes again.
            pass

    def _wait_for(self, journal: Journal, accepted_count: int) -> None:
        give_up_at = time.monotonic() + WAIT_SECONDS
        while journal.accepted_count() < accepted_count and time.monotonic() < give_up_at:
            time.sleep(0.2)


def _kinds_of(module: str) -> list[str]:
    name = importlib.import_module(f"tests.chaos.faults.{module}").__name__
    return sorted(kind for kind, fault in KINDS.items() if fault.__module__ == name)
