"""Watchers: the looks and the last event of an event stream, and what must hold between them."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import orjson

from tests.simulation.actors import Actor
from tests.simulation.partials import Ask
from workers.lifecycle import watching
from workers.lifecycle.watching import State
from workers.models import Generation
from zekron_api.endpoints import generation_object
from zekron_api.waiting.event_stream import Event

_NOTHING: Final = (-1, "")


class Watcher:
    """A client that watches one generation, also across the death of its web process."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, str]] = {}

    def look(self, actor: Actor, ask: Ask, generation: Generation) -> Iterator[str]:
        """Look at the row as an event stream does. Yield what contradicts an earlier look."""
        read = partial(watching.read_states, generation_ids=[generation.pk])
        states = ask(actor, "a watcher's look", read)
        if isinstance(states, list):
            for state in states:
                yield from self._note(actor, state.generation_id, state.version, state)

    def is_ended(self, generation: Generation) -> bool:
        """Return whether the end was seen."""
        return self._seen.get(generation.pk, _NOTHING)[1] in ("completed", "failed", "cancelled")

    def take_end(self, actor: Actor, ask: Ask, generation: Generation) -> tuple[Any, list[str]]:
        """Return the object of the last event, or None without one, and what contradicts an earlier look."""
        build = partial(
            generation_object.build_end,
            account_id=generation.account_id,
            generation_id=generation.pk,
            with_content=True,
        )
        event = ask(actor, "the last event", build)
        if event is None:
            return None, ["a watcher saw the end, and there is no last event"]
        if not isinstance(event, Event):
            return None, []
        actor.simulator.happened["watched"] += 1
        end = orjson.loads(event.data)
        wrong = list(
            self._note(actor, generation.pk, event.version, State(generation.pk, event.name, 0, None))
        )
        if end["status"] != event.name:
            wrong.append(f"the last event {event.name} tells of one that is {end['status']}")
        return end, wrong

    def _note(self, actor: Actor, generation_id: int, version: int, state: State) -> Iterator[str]:
        last_version, last_status = self._seen.get(generation_id, _NOTHING)
        self._seen[generation_id] = version, state.status
        name = actor.simulator.name_of(generation_id)
        if version < last_version or (version == last_version and state.status != last_status):
            yield (
                f"a watcher saw {name} {last_status} in version {last_version}, then {state.status} in {version}"
            )
