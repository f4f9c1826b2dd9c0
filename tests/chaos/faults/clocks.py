"""Faults of clocks: a process lives for some time with one that is hours ahead or behind."""

import signal
from functools import partial
from pathlib import Path

from tests.chaos import wrong_clock
from tests.chaos.cluster import WEBS
from tests.chaos.faults import Rig, kind

FOLDER = Path(wrong_clock.__path__[0])
HOUR_SECONDS = 3600
# Past the life of an image and of its sources, past the life of a lease, and hardly noticed.
WRONG_SECONDS = (26 * HOUR_SECONDS, -26 * HOUR_SECONDS, 2 * HOUR_SECONDS, -2 * HOUR_SECONDS, -40, 3)
SECONDS = 12
WRONG_CHORES = "chores' clock wrong by hours"


@kind("worker's clock wrong by hours")
def skew_a_worker(rig: Rig) -> None:
    _skew(rig, rig.some_worker())


@kind("web's clock wrong by hours")
def skew_a_web(rig: Rig) -> None:
    _skew(rig, rig.chance.choice(WEBS))


@kind(WRONG_CHORES)
def skew_chores(rig: Rig) -> None:
    _skew(rig, "chores")


def _skew(rig: Rig, name: str) -> None:
    seconds = rig.chance.choice(WRONG_SECONDS)
    rig.cluster.supervisor.arm(name, PYTHONPATH=str(FOLDER), CHAOS_CLOCK_SECONDS=str(seconds))
    rig.cluster.supervisor.send(name, signal.SIGTERM)
    rig.later(SECONDS, partial(rig.cluster.supervisor.disarm, name), engages=name)
