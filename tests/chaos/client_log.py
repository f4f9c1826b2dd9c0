"""Record of what clients asked for and were told, kept apart from the service, which is held to it afterwards."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Owner(NamedTuple):
    """An account of the run: its key, and another one for the same account's checks of foreign images."""

    account_id: int
    key: str
    opening_micros: int


class Reply(NamedTuple):
    """One answer: what the service said of an order, and of which generation; the digest is the PNG's SHA-256."""

    at: float
    status: int
    error_type: str
    generation_id: int | None
    digest: str
    token: str
    cost: str
    was_replayed: bool


@dataclass(kw_only=True)
class Order:
    """A client's wish for one image, however often it has to ask. Its prompt is like no other's."""

    number: int
    owner: Owner
    prompt: str
    size: str
    # Positions in the palette of source pictures.
    sources: tuple[int, ...] = ()
    idempotency_key: str | None = None
    leaves: bool = False
    # The client polls instead of waiting on its connection. `queue_ttl` is in seconds.
    is_async: bool = False
    queue_ttl: int | None = None
    # What the client does about its generation besides: "cancel", "delete" or nothing.
    regret: str = ""
    ended: str = ""
    sent_count: int = 0
    replies: list[Reply] = field(default_factory=list)

    @property
    def completed(self) -> Reply | None:
        """The reply that brought the image."""
        return next((reply for reply in self.replies if reply.status == 200), None)


class ClientLog:
    """All orders, and what was done to images behind the service's back. Safe from any thread."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        # By generation: the status that a GET of its image must answer from now on.
        self.spoilt: dict[int, int] = {}
        # Generations that a client was told are cancelled or deleted, and the prompts of those it asked to delete.
        self.cancelled: set[int] = set()
        self.deleted: set[int] = set()
        self.erased: dict[int, str] = {}
        # What a client must never be told.
        self.offences: list[str] = []
        self._accepted: set[int] = set()
        self._lock = threading.Lock()

    def open(
        self,
        *,
        owner: Owner,
        prompt: str,
        size: str,
        sources: tuple[int, ...],
        has_key: bool,
        leaves: bool,
        is_async: bool = False,
        queue_ttl: int | None = None,
        regret: str = "",
    ) -> Order:
        """Open a new order, with its number in its prompt."""
        with self._lock:
            number = len(self.orders) + 1
            order = Order(
                number=number,
                owner=owner,
                prompt=f"order {number}: {prompt}",
                size=size,
                sources=sources,
                idempotency_key=f"order-{number}" if has_key else None,
                leaves=leaves,
                is_async=is_async,
                queue_ttl=queue_ttl,
                regret=regret,
            )
            self.orders.append(order)
            return order

    def note(self, order: Order, reply: Reply) -> None:
        """Add an answer to an order."""
        with self._lock:
            order.replies.append(reply)
            if reply.generation_id:
                self._accepted.add(order.number)

    def offend(self, text: str) -> None:
        """Add something that should not have happened at all."""
        with self._lock:
            self.offences.append(f"{time.strftime('%H:%M:%S')} {text}")

    def spoil(self, generation_id: int, *, status: int) -> None:
        """Note that this generation's image answers with this status from now on."""
        with self._lock:
            self.spoilt[generation_id] = status

    def may_delete(self, generation_id: int, prompt: str) -> bool:
        """Note that a client deletes this generation now; return False for one that was spoilt before."""
        with self._lock:
            if generation_id in self.spoilt:
                return False
            self.spoilt[generation_id] = 410
            self.erased[generation_id] = prompt
            return True

    def note_deleted(self, generation_id: int) -> None:
        """Note that the service has said that nothing is left of it."""
        with self._lock:
            self.deleted.add(generation_id)

    def note_cancelled(self, generation_id: int) -> None:
        """Note that the service has said that it is cancelled, or will be."""
        with self._lock:
            self.cancelled.add(generation_id)

    def prompt_of(self, row: Any) -> str:
        """Return the prompt of a generation's row, also after the prompt was erased."""
        return row.prompt or self.erased.get(row.id, "")

    def accepted_count(self) -> int:
        """Count the orders that are known to have become a generation."""
        return len(self._accepted)

    def whole(self) -> list[tuple[int, Owner]]:
        """Return the generations whose image came and was not spoilt, with their owners."""
        with self._lock:
            came = [(order.completed, order.owner) for order in self.orders]
        return [
            (reply.generation_id, owner)
            for reply, owner in came
            if reply and reply.generation_id and reply.generation_id not in self.spoilt
        ]
