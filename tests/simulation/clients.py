"""Clients: each sends its wishes through the code of the web process, and tries again when it does not know."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

import orjson
import psycopg
import pybase64
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connections

from billing import ledger
from storage import images
from storage.failpoints import FailpointReached
from tests.simulation import painting
from tests.simulation.actors import Actor, Killed
from tests.simulation.store import StoreFailed
from workers import catalogue
from workers.lifecycle import admission, generations, idempotency, queries
from workers.models import Generation
from zekron_api.endpoints import create_generation, generation_response
from zekron_api.http import errors

SIZE: Final = (64, 64)
TRIES: Final = 4

REFUSALS: Final = (
    admission.QueueTooLong,
    generations.TooManyOpen,
    ledger.InsufficientBalance,
    idempotency.KeyReused,
)
# What a web process answers with 500: then its client knows nothing.
FAILURES: Final = (OperationalError, InterfaceError, errors.StateUnavailable, FailpointReached, StoreFailed)
UNKNOWN: Final = object()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A client's request for one image."""

    account_id: int
    prompt: str
    key: str | None = None
    sources: tuple[bytes, ...] = ()


@dataclass(eq=False)
class Client:
    """A client and what it was told, as (generation, status). Each request is served by a web process of its own."""

    wishes: list[Wish]
    wish: Wish | None = None
    told: list[tuple[int, str]] = field(default_factory=list)
    # What it was given or shown that is not what it wished for.
    wrong: list[str] = field(default_factory=list)

    def act(self, actor: Actor) -> None:
        """One wish after the other, unless the trouble is over before it comes to them."""
        for wish in self.wishes:
            actor.sleep(actor.simulator.dice.randint(0, 20))
            if actor.simulator.is_over or actor.simulator.calm_since:
                return
            self.wish = wish
            self._pursue(actor, wish)

    def _pursue(self, actor: Actor, wish: Wish) -> None:
        for _ in range(TRIES):
            generation = self._send(actor, wish)
            if generation is None or (
                generation is not UNKNOWN and self._is_answered(actor, wish, generation)
            ):
                return
            actor.sleep(actor.simulator.dice.randint(1, 20))
            if actor.simulator.is_over:
                return

    def _send(self, actor: Actor, wish: Wish) -> Any:
        """Send the request; return the generation, None for a refusal, or UNKNOWN."""
        fields = {
            "prompt": wish.prompt,
            "size": SIZE,
            "model": catalogue.catalogue()[catalogue.DEFAULT_MODEL],
            "images": wish.sources,
        }
        place = partial(
            create_generation.create, account_id=wish.account_id, fields=fields, idempotency_key=wish.key
        )
        try:
            placed = self._ask(actor, "POST /v1/generate", place)
        except REFUSALS as refusal:
            actor.simulator.note(actor, f"is refused: {type(refusal).__name__}")
            return None
        if placed is UNKNOWN:
            return UNKNOWN
        name = actor.simulator.name_of(placed.generation.pk)
        actor.simulator.note(actor, f"has {name}{' again' if placed.replayed else ''}")
        self._look_at(placed.generation, wish, name)
        self.told.append((placed.generation.pk, "accepted"))
        return placed.generation

    def _look_at(self, generation: Generation, wish: Wish, name: str) -> None:
        if (generation.account_id, generation.prompt) != (wish.account_id, wish.prompt):
            self.wrong.append(f"{name} was given for another's wish, or another wish")

    def _is_answered(self, actor: Actor, wish: Wish, generation: Generation) -> bool:
        """Wait as the waiting room does, and take the reply; return whether there was one."""
        leaves_at = actor.simulator.now + timedelta(seconds=actor.simulator.dice.choice((5, 20, 60, 100)))
        while actor.simulator.now < leaves_at and not actor.simulator.is_over:
            look = partial(queries.find_ended, generation_ids=[generation.pk])
            if self._ask(actor, "a look at the row", look) not in (UNKNOWN, set()):
                break
            actor.sleep(actor.simulator.dice.randint(5, 25))
        try:
            reply = self._ask(
                actor, "the reply", partial(generation_response.build, generation_id=generation.pk)
            )
        except errors.GenerationFailed:
            return self._note(actor, generation, "failed")
        except errors.ServiceBusy:
            return self._note(actor, generation, "cancelled")
        except errors.GenerationTimeout:
            return self._note(actor, generation, "accepted")
        except (images.ImageGone, errors.ImageUnreachable) as error:
            # A store that fails at this moment has lost nothing.
            if not isinstance(error.__cause__, StoreFailed):
                self.wrong.append(
                    f"the image of {wish.prompt!r} cannot be read: {error.__cause__ or error!r}"
                )
            return self._note(actor, generation, "completed")
        if reply is UNKNOWN:
            return False
        self._check(orjson.loads(reply.content)["data"], wish, generation)
        return self._note(actor, generation, "completed")

    def _note(self, actor: Actor, generation: Generation, status: str) -> bool:
        actor.simulator.note(actor, f"is told: {actor.simulator.name_of(generation.pk)} {status}")
        self.told.append((generation.pk, status))
        return True

    def _check(self, data: dict[str, Any], wish: Wish, generation: Generation) -> None:
        picture = painting.pixels_of(pybase64.b64decode(data["image"]["b64_json"]))
        if picture != painting.expected(wish.prompt, generation.parameters["seed"]):
            self.wrong.append(f"the client of {wish.prompt!r} was shown another picture")

    def _ask(self, actor: Actor, what: str, work: Callable[[], Any]) -> Any:
        """Return what the web process answers; UNKNOWN for 500, or when it died."""
        try:
            close_old_connections()
            actor.gate(what)
            return work()
        except FAILURES as failure:
            actor.simulator.note(actor, f"gets an error: {type(failure).__name__}")
        except IntegrityError as error:
            # A source that was in the store for so long before it was recorded that it counts as nobody's.
            if cast(psycopg.Error, error.__cause__).diag.table_name != "storage_storedimage":
                raise
            actor.simulator.note(actor, "gets 500: its source has a tombstone")
        except Killed:
            connections.close_all()
            actor.process.start()
        return UNKNOWN
