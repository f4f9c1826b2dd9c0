"""Wishes of the clients: what they ask for, how they wait for it, and what they do with it afterwards."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.simulation import painting
from zekron_api.http.authentication import Caller

# So long an asynchronous wish may stay in the queue. The first is over before most workers look.
QUEUE_SECONDS: Final = (2, 20, 120, 3600)
SECOND_THOUGHTS: Final = (
    (),
    (),
    ("cancel", "again"),
    ("delete", "again"),
    ("delete image", "again", "delete"),
    ("cancel", "delete", "again"),
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A client's request for one image. An asynchronous one may stay in the queue for `queue_seconds`."""

    account_id: int
    prompt: str
    key: str | None = None
    sources: tuple[bytes, ...] = ()
    queue_seconds: int | None = None
    # The most partial images that it asks for.
    partial_count: int = 0
    # The client follows it as an event stream does.
    is_watched: bool = False
    # The client's library sends the request again, without a key, when the connection breaks.
    is_retried: bool = False
    # The client cancels it while it waits, and afterwards does these things in this order.
    is_cancelled: bool = False
    then: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The generations that clients of one scenario asked to cancel or delete, whatever the answer was.

    `callers` has the key of each account.
    """

    callers: Mapping[int, Caller] = field(default_factory=dict)
    to_cancel: set[int] = field(default_factory=set)
    to_delete: set[int] = field(default_factory=set)
    # Those whose client has the answer that nothing is left of the image.
    gone: set[int] = field(default_factory=set)
    # How often each was to be noted as lost, and how often a retry has got it.
    lost: Counter[int] = field(default_factory=Counter)
    attached: Counter[int] = field(default_factory=Counter)
    # The clients that have sent a prompt.
    senders: dict[str, set[object]] = field(default_factory=lambda: defaultdict(set))


def draw(dice: random.Random, account_ids: Sequence[int]) -> Iterator[list[Wish]]:
    """Draw each client's requests; a twin repeats another's key and request, a rival its key alone."""
    earlier: list[Wish] = []
    for client in range(dice.randint(2, 4)):
        wishes = []
        for number in range(dice.randint(1, 2)):
            wish = _draw_one(dice, account_ids, f"{client}.{number}", earlier)
            wishes.append(wish)
            earlier.append(wish)
        yield wishes


def _draw_one(dice: random.Random, account_ids: Sequence[int], name: str, earlier: list[Wish]) -> Wish:
    twin = dice.choice(earlier) if earlier and dice.random() < 0.25 else None
    if twin is not None and dice.random() < 0.8:
        return twin
    manner = dice.choices(("a boat", painting.POISON, painting.DEADLY), (12, 1, 1))[0]
    key = twin.key if twin else dice.choice((None, f"key {name}", f"key {name}"))
    queue_seconds = dice.choice(QUEUE_SECONDS) if dice.random() < 0.4 else None
    return Wish(
        account_id=twin.account_id if twin else dice.choice(account_ids),
        prompt=f"{manner} {name}",
        key=key,
        sources=(painting.source(),) * dice.choice((0, 0, 1)),
        queue_seconds=queue_seconds,
        partial_count=dice.choice((0, 0, 1, 3)),
        is_watched=dice.random() < 0.4,
        is_retried=key is None and queue_seconds is None,
        is_cancelled=dice.random() < 0.3,
        then=dice.choice(SECOND_THOUGHTS),
    )
