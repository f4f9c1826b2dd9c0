"""Clients: each sends its wishes through the code of the web process, and tries again when it does not know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

import orjson
import psycopg
import pybase64
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connections

from billing import ledger
from billing.key_spending import KeySpendLimit
from billing.models import Account
from storage import images
from storage.failpoints import FailpointReached
from tests.simulation import painting, partials, retries
from tests.simulation.actors import Actor, Killed
from tests.simulation.retries import Retrier
from tests.simulation.store import StoreFailed
from tests.simulation.watchers import Watcher
from tests.simulation.wishes import Asked, Wish
from workers import catalogue
from workers.lifecycle import admission, cancellation, deletion, generations, idempotency, queries
from workers.lifecycle.partials import PartialsSuspended
from workers.models import Generation
from zekron_api.endpoints import accepted_response, create_generation, generation_response
from zekron_api.endpoints.sizes import Size
from zekron_api.http import errors

SIZE: Final = Size(64, 64)
TRIES: Final = 4
# In every look at an open generation, a client that may cancel does so with this probability.
CANCEL_RATE: Final = 0.4
# A client whose library sends requests again loses its connection with this probability, instead of the reply.
LOSS_RATE: Final = 0.5

REFUSALS: Final = (
    admission.QueueTooLong,
    generations.TooManyOpen,
    generations.TooManyQueued,
    ledger.InsufficientBalance,
    KeySpendLimit,
    idempotency.KeyReused,
    PartialsSuspended,
)
# What a web process answers with 500: then its client knows nothing.
FAILURES: Final = (
    OperationalError,
    InterfaceError,
    errors.SourcesNotStored,
    errors.StateUnavailable,
    FailpointReached,
    StoreFailed,
)
UNKNOWN: Final = object()
ENDED: Final = ("completed", "failed", "cancelled")


@dataclass(eq=False)
class Client:
    """A client and what it was told, as (generation, status). Each request is served by a web process of its own."""

    wishes: Sequence[Wish]
    asked: Asked
    # The generations as last committed.
    rows: dict[int, Any]
    wish: Wish | None = None
    told: list[tuple[int, str]] = field(default_factory=list)
    # What it was given or shown that is not what it wished for.
    wrong: list[str] = field(default_factory=list)
    watcher: Watcher = field(default_factory=Watcher)

    def __post_init__(self) -> None:
        """Make the part of it that sends requests again."""
        self.retrier = Retrier(self.asked, self.rows)

    def act(self, actor: Actor) -> None:
        """One wish after the other, unless the trouble is over before it comes to them."""
        for wish in self.wishes:
            actor.sleep(actor.simulator.dice.randint(0, 20))
            if actor.simulator.is_over or actor.simulator.calm_since:
                return
            self.wish = wish
            generation = self._pursue(actor, wish)
            for act in wish.then if generation is not None else ():
                {
                    "cancel": self._cancel,
                    "delete": self._delete,
                    "delete image": self._delete_image,
                    "again": self._send_again,
                }[act](actor, wish, generation)

    def _pursue(self, actor: Actor, wish: Wish) -> Any:
        """Return the generation that the client got, or None."""
        last = None
        for number in range(TRIES):
            generation = self._send(actor, wish, is_retry=wish.is_retried and number > 0)
            if generation is None:
                return last
            if generation is not UNKNOWN:
                last = generation
                if self._is_answered(actor, wish, generation):
                    return last
            actor.sleep(actor.simulator.dice.randint(1, 20))
            if actor.simulator.is_over:
                return None
        return last

    def _send(self, actor: Actor, wish: Wish, *, is_retry: bool = False) -> Any:
        """Send the request; return the generation, None for a refusal, or UNKNOWN."""
        self.asked.senders[wish.prompt].add(self)
        was_suspended = partials.are_suspended(self.rows, account_id=wish.account_id)
        is_async = wish.queue_seconds is not None
        fields = {
            "prompt": wish.prompt,
            "size": SIZE,
            "model": catalogue.catalogue()[catalogue.DEFAULT_MODEL],
            "images": wish.sources,
            **create_generation.NOTHING_MORE,
            "async": is_async or None,
            "queue_ttl": wish.queue_seconds,
            "partial_images": wish.partial_count or None,
        }
        place = partial(
            create_generation.create,
            # The limits are those of the settings, as for an account that has none of its own.
            account=Account(pk=wish.account_id),
            caller=self.asked.callers.get(wish.account_id),
            fields=fields,
            idempotency_key=wish.key,
            queue_seconds=wish.queue_seconds,
            lost_digests=[retries.digest_of(wish)] if is_retry else (),
        )
        try:
            placed = self._ask(actor, f"POST /v1/generate{' asynchronously' if is_async else ''}", place)
        except REFUSALS as refusal:
            actor.simulator.note(actor, f"is refused: {type(refusal).__name__}")
            actor.simulator.happened[type(refusal).__name__] += 1
            if isinstance(refusal, PartialsSuspended) and not partials.are_suspended(
                self.rows, account_id=wish.account_id
            ):
                self.wrong.append("partial images were refused to an account that may have them")
            return None
        if problem := self.retrier.check(actor, wish, placed):
            self.wrong.append(problem)
        if placed is UNKNOWN:
            return UNKNOWN
        if wish.partial_count and was_suspended and not (placed.replayed or placed.attached):
            self.wrong.append("partial images were promised to an account from which they are withheld")
        name = actor.simulator.name_of(placed.generation.pk)
        actor.simulator.note(actor, f"has {name}{' again' if placed.replayed else ''}")
        self._look_at(placed.generation, wish, name)
        self.told.append((placed.generation.pk, "accepted"))
        return placed.generation

    def _look_at(self, generation: Generation, wish: Wish, name: str) -> None:
        is_erased = generation.pk in self.asked.to_delete and generation.prompt == ""
        if generation.account_id != wish.account_id or not (is_erased or generation.prompt == wish.prompt):
            self.wrong.append(f"{name} was given for another's wish, or another wish")

    def _is_answered(self, actor: Actor, wish: Wish, generation: Generation) -> bool:
        """Wait as the waiting room does, or poll, and take the reply; return whether there was one."""
        leaves_at = actor.simulator.now + timedelta(seconds=actor.simulator.dice.choice((5, 20, 60, 100)))
        while actor.simulator.now < leaves_at and not actor.simulator.is_over:
            if self._sees_end(actor, wish, generation):
                break
            if partials.take(actor, self._ask, generation):
                self.told.append((generation.pk, "partial"))
                actor.simulator.happened["partial image"] += 1
            if wish.is_cancelled and actor.simulator.dice.random() < CANCEL_RATE:
                self._cancel(actor, wish, generation)
            actor.sleep(actor.simulator.dice.randint(5, 25))
        if wish.is_watched:
            return self._takes_last_event(actor, wish, generation)
        if wish.is_retried and actor.simulator.dice.random() < LOSS_RATE:
            self.retrier.lose(actor, self._ask, wish, generation)
            return False
        return self._is_replied(actor, wish, generation)

    def _sees_end(self, actor: Actor, wish: Wish, generation: Generation) -> bool:
        """Look at the row, as the waiting room does or as an event stream."""
        if wish.is_watched:
            self.wrong += self.watcher.look(actor, self._ask, generation)
            return self.watcher.is_ended(generation)
        look = partial(queries.find_ended, generation_ids=[generation.pk])
        return self._ask(actor, "a look at the row", look) not in (UNKNOWN, set())

    def _takes_last_event(self, actor: Actor, wish: Wish, generation: Generation) -> bool:
        """Take the last event of a stream, and the reply if the stream was closed before the end."""
        if not self.watcher.is_ended(generation):
            return self._is_replied(actor, wish, generation)
        was_gone = generation.pk in self.asked.gone
        end, wrong = self.watcher.take_end(actor, self._ask, generation)
        self.wrong += wrong
        if end is None:
            return False
        if end["image"] and "b64_json" in end["image"]:
            if was_gone:
                self.wrong.append(f"the deleted image of {wish.prompt!r} was sent")
            self._check(end, wish, generation)
        return self._note(actor, generation, end["status"])

    def _is_replied(self, actor: Actor, wish: Wish, generation: Generation) -> bool:
        was_gone = generation.pk in self.asked.gone
        build = accepted_response.build if wish.queue_seconds is not None else generation_response.build
        try:
            reply = self._ask(actor, "the reply", partial(build, generation_id=generation.pk))
        except errors.GenerationFailed:
            return self._note(actor, generation, "failed")
        except (errors.ServiceBusy, errors.GenerationCancelled, errors.QueueTtlExceeded):
            return self._note(actor, generation, "cancelled")
        except errors.GenerationTimeout:
            return self._note(actor, generation, "accepted")
        except (errors.ImageExpired, images.ImageGone, errors.ImageUnreachable) as error:
            # A store that fails at this moment has lost nothing.
            is_known = isinstance(error.__cause__, StoreFailed) or generation.pk in self.asked.to_delete
            if not is_known:
                self.wrong.append(
                    f"the image of {wish.prompt!r} cannot be read: {error.__cause__ or error!r}"
                )
            return self._note(actor, generation, "completed")
        if reply is UNKNOWN or reply.status_code == 202:
            return reply is not UNKNOWN and self._note(actor, generation, "accepted")
        if was_gone:
            self.wrong.append(f"the deleted image of {wish.prompt!r} was shown")
        self._check(orjson.loads(reply.content)["data"], wish, generation)
        return self._note(actor, generation, "completed")

    def _note(self, actor: Actor, generation: Generation, status: str) -> bool:
        actor.simulator.note(actor, f"is told: {actor.simulator.name_of(generation.pk)} {status}")
        self.told.append((generation.pk, status))
        return True

    def _check(self, data: dict[str, Any], wish: Wish, generation: Generation) -> None:
        picture = painting.pixels_of(pybase64.b64decode(data["image"]["b64_json"]))
        if picture != painting.expected(wish.prompt, generation.parameters.get("seed")):
            self.wrong.append(f"the client of {wish.prompt!r} was shown another picture")

    def _cancel(self, actor: Actor, wish: Wish, generation: Generation) -> None:
        """Cancel it, in whatever status it is, and believe the reply."""
        del wish
        self.asked.to_cancel.add(generation.pk)

        def request() -> Generation:
            row = Generation.objects.get(pk=generation.pk)
            actor.simulator.happened[f"cancel {row.status}"] += 1
            return cancellation.request(generation=row, detail="its client cancelled it")

        try:
            row = self._ask(actor, f"cancels {actor.simulator.name_of(generation.pk)}", request)
        except cancellation.AlreadyEnded:
            actor.simulator.note(actor, "is told that it has ended already")
            return
        if row is not UNKNOWN:
            self._note(actor, generation, "unwanted" if row.is_open else "cancelled")

    def _delete(self, actor: Actor, wish: Wish, generation: Generation) -> None:
        """Delete the generation with all that it was made from."""
        del wish
        self.asked.to_delete.add(generation.pk)
        had_ended = any(pk == generation.pk and status in ENDED for pk, status in self.told)
        delete = partial(deletion.delete_generation, generation_id=generation.pk)
        try:
            reply = self._ask(actor, f"deletes {actor.simulator.name_of(generation.pk)}", delete)
        except deletion.StillOpen:
            if had_ended:
                self.wrong.append("a generation that had ended could not be deleted, because it was open")
            actor.simulator.note(actor, "is told that it is open")
            return
        if reply is not UNKNOWN:
            self._have_deleted(actor, generation, "deleted")

    def _delete_image(self, actor: Actor, wish: Wish, generation: Generation) -> None:
        """Delete the image alone, as its token allows."""
        del wish
        if (generation.pk, "completed") in self.told:
            self.asked.to_delete.add(generation.pk)
            delete = partial(deletion.delete_image, generation_id=generation.pk)
            name = actor.simulator.name_of(generation.pk)
            if self._ask(actor, f"deletes the image of {name}", delete) is not UNKNOWN:
                self._have_deleted(actor, generation, "image deleted")

    def _have_deleted(self, actor: Actor, generation: Generation, what: str) -> None:
        actor.simulator.happened[what] += 1
        self.asked.gone.add(generation.pk)
        self._note(actor, generation, what)

    def _send_again(self, actor: Actor, wish: Wish, generation: Generation) -> None:
        """Send the same request as a client does that did not note its reply, or as a library does that lost it."""
        del generation
        is_told = wish.key is not None or wish.is_retried
        if is_told and (again := self._send(actor, wish, is_retry=wish.is_retried)) not in (None, UNKNOWN):
            self._is_answered(actor, wish, again)

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
