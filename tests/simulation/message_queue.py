"""Messages of one simulation: on their way they may be lost, come twice or late, and be wiped away."""

from datetime import datetime, timedelta

from tests.simulation import actors
from tests.simulation.faults import Fault


class MessageQueue:
    """Messages that were sent and not yet taken."""

    def __init__(self) -> None:
        self._waiting: list[tuple[datetime, int]] = []
        # When a message was last sent for each generation, whatever became of it.
        self.sent_at: dict[int, datetime] = {}

    def send(self, *, generation_id: int) -> None:
        """In the place of `hints.send`."""
        actor = actors.current()
        name = actor.simulator.name_of(generation_id)
        struck = actor.gate(f"a message for {name} is sent", Fault.LOST, Fault.DOUBLED, Fault.LATE)
        late = timedelta(seconds=actor.simulator.dice.randint(1, 60) if struck == Fault.LATE else 0)
        count = {Fault.LOST: 0, Fault.DOUBLED: 2}.get(struck, 1)
        self.sent_at[generation_id] = actor.simulator.now
        self._waiting += [(actor.simulator.now + late, generation_id)] * count
        actor.gate("it is sent")

    def take(self, *, now: datetime) -> int | None:
        """Return the generation of one message that has come; its taker may lose it."""
        come = min(self._waiting, default=None)
        if come is None or come[0] > now:
            return None
        self._waiting.remove(come)
        return come[1]

    def wipe(self) -> None:
        """Forgets every message."""
        self._waiting.clear()
