"""Faults of clocks: a worker's or a web's runs hours ahead or behind. Needs libfaketime; without it, says so."""

import signal
from functools import partial
from pathlib import Path

from tests.chaos.faults import Rig, Skipped, kind
from tests.chaos.scene import WEBS

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
SECONDS = 15


def library() -> Path | None:
    """libfaketime, where Debian's package `faketime` puts it."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    return found[0] if found else None


@kind("worker's clock wrong by hours")
def skew_a_worker(rig: Rig) -> None:
    _skew(rig, rig.some_worker())


@kind("web's clock wrong by hours")
def skew_a_web(rig: Rig) -> None:
    _skew(rig, rig.chance.choice(WEBS))


def _skew(rig: Rig, name: str) -> None:
    path = library()
    if path is None:
        raise Skipped("there is no libfaketime here (Debian: apt-get install faketime)")
    offset = rig.chance.choice(("+26h", "-26h", "+2h", "-90s"))
    rig.scene.supervisor.arm(
        name, LD_PRELOAD=str(path), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_NO_CACHE="0"
    )
    rig.scene.supervisor.send(name, signal.SIGTERM)
    rig.later(SECONDS, partial(rig.scene.supervisor.send, name, signal.SIGTERM), engages=name)
