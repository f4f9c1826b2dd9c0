"""Named points at which a test makes a process die, fail or stand still, so that what must survive it can be seen.

They are off unless FAILPOINTS names them: `stored=kill`, `settling=raise`, `claimed=hang:5`, with commas. A point costs
one look at an empty mapping. It lies in the lowest package that has points, so that all others can reach it.
"""

import os
import signal
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

NAMES: Final = (
    # A web process: the generation is committed, its message not yet sent.
    "submitted",
    # A worker: it has its lease; it has the picture; the object is stored; the charge is made and not committed;
    # whatever its end is, it is committed, and nobody has been told.
    "claimed",
    "painted",
    "stored",
    "settling",
    "ended",
    # A sweep: what it rescued is committed.
    "rescued",
    # A purge: keys are destroyed; an object is deleted and its row does not say so yet.
    "keys_destroyed",
    "object_deleted",
)
ACTIONS: Final = ("kill", "raise", "hang")
# Over every lease and deadline of a request.
HANG_SECONDS: Final = 3600.0


class FailpointReached(Exception):
    """A failpoint that is set to raise was reached."""


class _Action(NamedTuple):
    name: str
    seconds: float


def parse(text: str) -> Mapping[str, _Action]:
    """The points of the variable's text by name; one that does not exist ends the process with a line."""
    armed = {}
    for item in filter(None, text.split(",")):
        point, _, action = item.partition("=")
        what, _, seconds = action.partition(":")
        if point not in NAMES or what not in ACTIONS:
            raise SystemExit(
                f"zekron: the environment variable FAILPOINTS has {item!r}; a point is one of"
                f" {', '.join(NAMES)}, and does one of {', '.join(ACTIONS)}."
            )
        armed[point] = _Action(what, float(seconds or HANG_SECONDS))
    return armed


def reach(point: str) -> None:
    """Does what the variable says of this point: nothing, or SIGKILL to this process, FailpointReached, or a sleep."""
    if point in _armed:
        _act(_armed[point])


def _act(action: _Action) -> None:
    if action.name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action.name == "raise":
        raise FailpointReached
    time.sleep(action.seconds)


_armed = parse(os.environ.get("FAILPOINTS", ""))
