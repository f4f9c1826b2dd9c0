"""Named points at which a test makes a process die, fail or hang, in order to check what survives.

All points are off unless the environment variable FAILPOINTS lists them with commas between: `stored=kill`,
`settling=raise`, `claimed=hang:5`. An unset point costs one lookup in an empty mapping. The module is in the lowest
package that has points, so that every other package can import it.
"""

import os
import signal
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

NAMES: Final = (
    # A web process has committed the generation, and has not yet sent its message.
    "submitted",
    # A worker has, in this order: its lease, the image, the object in the store, the charge before its commit, and
    # the committed end of the generation before any announcement.
    "claimed",
    "painted",
    "stored",
    "settling",
    "ended",
    # A recovery sweep has committed the generations that it requeued.
    "rescued",
    # A purge has destroyed the keys, and later has deleted an object whose row does not record that yet.
    "keys_destroyed",
    "object_deleted",
    # The process that delivers webhooks has committed its leases and sent nothing, and later has sent one event whose
    # row does not record that yet.
    "webhook_claimed",
    "webhook_sent",
)
ACTIONS: Final = ("kill", "raise", "hang")
# One hour is longer than every lease and every deadline of a request.
HANG_SECONDS: Final = 3600.0


class FailpointReached(Exception):
    """A failpoint that is set to raise was reached."""


class _Action(NamedTuple):
    name: str
    seconds: float


def parse(text: str) -> Mapping[str, _Action]:
    """Parse the variable's text into actions by point.

    An unknown point or action ends the process with one line.
    """
    armed = {}
    for item in filter(None, text.split(",")):
        point, _, action = item.partition("=")
        what, _, seconds = action.partition(":")
        if point not in NAMES or what not in ACTIONS:
            raise SystemExit(
                f"zekron: the environment variable FAILPOINTS has an unknown item {item!r}."
                f" Allowed points: {', '.join(NAMES)}. Allowed actions: {', '.join(ACTIONS)}."
            )
        armed[point] = _Action(what, float(seconds or HANG_SECONDS))
    return armed


def reach(point: str) -> None:
    """Run the action that the variable sets for this point, or do nothing.

    The action is SIGKILL to this process, FailpointReached, or a sleep.
    """
    if point in _armed:
        _act(_armed[point])


def _act(action: _Action) -> None:
    if action.name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action.name == "raise":
        raise FailpointReached
    time.sleep(action.seconds)


_armed = parse(os.environ.get("FAILPOINTS", ""))
