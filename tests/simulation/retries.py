"""Retries of client libraries: without a key, after a connection that broke, for the generation of the first try."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.conf import settings

from tests.simulation.actors import Actor
from tests.simulation.partials import Ask
from tests.simulation.wishes import Asked, Wish
from workers.lifecycle import idempotency, lost_clients
from workers.models import Generation

# A little less than a loss is remembered.
CERTAIN: Final = lost_clients.MAX_AGE - timedelta(minutes=1)


class Retrier:
    """A client's losses, and the retry that must get what was lost."""

    def __init__(self, asked: Asked, rows: dict[int, Any]) -> None:
        self._asked, self._rows = asked, rows
        # The wish whose generation's row certainly says that its client was lost, the generation, and since when.
        self._noted: tuple[Wish, int, datetime] | None = None

    def lose(self, actor: Actor, ask: Ask, wish: Wish, generation: Generation) -> None:
        """Break the connection: the web process notes that, unless it fails or dies."""
        self._asked.lost[generation.pk] += 1
        self._noted = None
        note = partial(lost_clients.note, generation_id=generation.pk, digest=digest_of(wish))
        if ask(actor, f"the client of {actor.simulator.name_of(generation.pk)} is lost", note) is None:
            self._noted = wish, generation.pk, actor.simulator.now

    def check(self, actor: Actor, wish: Wish, placed: Any) -> str:
        """Return what is wrong with the answer to a retry, or an empty text. `placed` is a `Created`, or anything."""
        noted, self._noted = self._noted, None
        got = getattr(placed, "generation", None)
        if got is None:
            return ""
        name = actor.simulator.name_of(got.pk)
        if placed.attached:
            actor.simulator.happened["attached"] += 1
            self._asked.attached[got.pk] += 1
            if self._asked.attached[got.pk] > self._asked.lost[got.pk]:
                return f"{name} was given to more retries than it lost clients"
        elif noted and noted[0] is wish and self._is_certain(actor, *noted):
            return f"a retry bought {name}, and its client had lost {actor.simulator.name_of(noted[1])}"
        return ""

    def _is_certain(self, actor: Actor, wish: Wish, generation_id: int, since: datetime) -> bool:
        """Return whether no other client can have got it, and it is a reply."""
        return (
            len(self._asked.senders[wish.prompt]) == 1
            and self._rows[generation_id].status in ("queued", "running", "completed")
            and actor.simulator.now < since + CERTAIN
        )


def digest_of(wish: Wish) -> str:
    """Return the digest by which a retry finds it."""
    return idempotency.digest_of(request=[wish.prompt], secret_key=settings.SECRET_KEY)
