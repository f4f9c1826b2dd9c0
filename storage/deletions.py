"""Deletions of many objects at once, so that objects whose deletion hangs or fails delay no others.

The module knows no row and no store. Keys are the ids or names by which the caller knows its objects.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# A store that hangs blocks these threads at most, however many rounds begin. A deletion needs no database connection.
MAX_AT_ONCE: Final = 8
# With this many deletions under way, a batch does not wait for them, so that half of the threads go on.
MAX_STRAGGLERS: Final = MAX_AT_ONCE // 2
# The results of a batch with stragglers are collected this often.
COLLECT_SECONDS: Final = 0.5
MAX_DELAYED: Final = 10_000

_pool: Executor = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="delete")


class Delayed(Generic[K]):
    """The keys of the objects whose last deletion in this process failed or hung. They are tried after all others."""

    def __init__(self) -> None:
        self._keys: OrderedDict[K, None] = OrderedDict()

    def keys(self) -> list[K]:
        """Return the keys. Another thread may change them at any time."""
        return list(self._keys)

    def add(self, key: K) -> None:
        """Add a key. With too many keys the oldest is dropped, which only loses its place at the end."""
        self._keys[key] = None
        if len(self._keys) > MAX_DELAYED:
            self._keys.popitem(last=False)

    def discard(self, key: K) -> None:
        """Remove the key, if it is there."""
        self._keys.pop(key, None)


class Deletions(Generic[K]):
    """One round of deletions until `give_up_at`, in seconds of the monotonic clock."""

    def __init__(self, *, delayed: Delayed[K], give_up_at: float) -> None:
        self._delayed = delayed
        self._give_up_at = give_up_at
        self._under_way: dict[Future[bool], K] = {}

    def run(self, batches: Iterable[Collection[tuple[K, Callable[[], bool]]]]) -> Iterator[list[K]]:
        """Run the deletions, each of which returns whether it succeeded, and yield the keys of those that did.

        The next batch begins when all but a few have ended. Raises what a deletion raises.
        """
        try:
            for batch in batches:
                for key, delete in batch:
                    self._under_way[_pool.submit(self._delete, delete)] = key
                yield from self._collect(MAX_STRAGGLERS)
                if self._is_over:
                    break
            yield from self._collect(0)
        except BaseException:
            self._cancel_rest()
            wait(self._under_way, timeout=max(0.0, self._give_up_at - time.monotonic()))
            raise
        self._cancel_rest()
        for key in self._under_way.values():
            # The next round deletes the object again, which is harmless.
            self._delayed.add(key)

    def _cancel_rest(self) -> None:
        self._under_way = {each: key for each, key in self._under_way.items() if not each.cancel()}

    @property
    def _is_over(self) -> bool:
        return time.monotonic() >= self._give_up_at

    def _delete(self, delete: Callable[[], bool]) -> bool:
        return not self._is_over and delete()

    def _collect(self, most_left: int) -> Iterator[list[K]]:
        while len(self._under_way) > most_left:
            left_seconds = max(0.0, min(COLLECT_SECONDS, self._give_up_at - time.monotonic()))
            ended, _ = wait(self._under_way, timeout=left_seconds, return_when=FIRST_EXCEPTION)
            if deleted := [key for each in ended if (key := self._note(each)) is not None]:
                yield deleted
            if self._is_over:
                return

    def _note(self, ended: Future[bool]) -> K | None:
        """Return the key of a deletion that succeeded, and remember that of any other."""
        key = self._under_way.pop(ended)
        if ended.result():
            self._delayed.discard(key)
            return key
        if not self._is_over:
            self._delayed.add(key)
        return None
