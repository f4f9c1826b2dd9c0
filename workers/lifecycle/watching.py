"""States of generations, for those who watch them. It reads only, and many generations with one query."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from workers.lifecycle import queries, queue_position
from workers.lifecycle.queue_position import Place
from workers.models import OPEN_STATUSES, Generation, Status

_RANKS: Final = {Status.QUEUED: 0, Status.RUNNING: 1}
_ENDED_RANK: Final = 2
_MICROSECOND: Final = timedelta(microseconds=1)
MAX_ID_DIGITS: Final = 19


class State(NamedTuple):
    """The state of a generation. `version` grows with each transition, and `place` is None unless it is queued."""

    generation_id: int
    status: str
    version: int
    place: Place | None

    @property
    def is_open(self) -> bool:
        """Return True while the generation has not ended."""
        return self.status in OPEN_STATUSES


def find(*, account_id: int, generation_id: str) -> Generation:
    """Return the account's generation with its image. Raise Generation.DoesNotExist, also for a text that is no id."""
    if not (generation_id.isascii() and generation_id.isdigit() and len(generation_id) <= MAX_ID_DIGITS):
        raise Generation.DoesNotExist
    rows = Generation.objects.select_related("image")
    return rows.get(pk=int(generation_id), account_id=account_id)


def state_of(generation: Generation) -> State:
    """Return the state of a row."""
    return State(generation.pk, generation.status, version_of(generation), _place_of(generation))


def read_states(*, generation_ids: Collection[int]) -> list[State]:
    """Return the states of these generations, with one query for all rows and one look at the queue of each model."""
    rows = Generation.objects.filter(queries.among(generation_ids)).only(
        "status", "model", "turn_at", "created_at", "not_before", "started_at", "ended_at"
    )
    return [state_of(row) for row in rows]


def version_of(generation: Generation) -> int:
    """Return a number that grows with each transition of the row, and is the same in every process.

    It is made of the time of the last transition and, within a microsecond, of the order of the statuses. A claim needs
    `not_before` to have passed, so also a row that is requeued for later keeps the order.
    """
    last = max(_times(generation))
    return 4 * ((last - generation.created_at) // _MICROSECOND) + _RANKS.get(
        Status(generation.status), _ENDED_RANK
    )


def _times(generation: Generation) -> list[datetime]:
    times = (generation.created_at, generation.not_before, generation.started_at, generation.ended_at)
    return [time for time in times if time is not None]


def _place_of(generation: Generation) -> Place | None:
    if generation.status != Status.QUEUED:
        return None
    return queue_position.find_place(
        model=generation.model, turn_at=generation.turn_at, generation_id=generation.pk
    )
