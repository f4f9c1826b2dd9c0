"""Memory of the live keys that this process has just looked up, so that not every request asks the database.

It knows which account a key has, the account's own limits and what the key grants, but no balance, because amounts must
never be old.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from cachetools import TLRUCache
from django.db import transaction

from billing.grants import Grants

# A revoked key and a suspended account are refused by every process after this time.
MAX_AGE_SECONDS: Final = 5.0
# An entry has about 300 bytes.
MAX_KEYS: Final = 10_000


class Reading(NamedTuple):
    """The start of a look-up in the database: its time, and how often everything had been forgotten before it."""

    started_at: float
    forgotten_count: int


class RecentKey(NamedTuple):
    """A key that was looked up a moment ago, what is remembered of its account, and what it grants."""

    id: int
    account_id: int
    # The account's own limits, and the number of its disabled webhooks.
    remembered: tuple[int | None, ...]
    grants: Grants


class _Entry(NamedTuple):
    key: RecentKey
    valid_until: float


class RecentKeys:
    """The accounts of keys by their digest, each for MAX_AGE_SECONDS or until its key expires. Safe for threads.

    Keys that open nothing are not kept, so a key works as soon as it is issued.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._forgotten_count = 0
        self._entries = self._make_empty()

    def find(self, digest: str) -> RecentKey | None:
        """Return the key with this digest, or None if the database must be asked."""
        with self._lock:
            entry = self._entries.get(digest)
        return entry.key if entry else None

    def start_reading(self) -> Reading:
        """Return what `remember` needs. Call it before the key is looked up."""
        with self._lock:
            return Reading(self._clock(), self._forgotten_count)

    def remember(self, digest: str, *, key: RecentKey, seconds_left: float | None, reading: Reading) -> None:
        """Keep a live key, which expires `seconds_left` after the look-up, or never.

        The look-up may have seen a key that was revoked meanwhile, so after `forget_all` nothing is kept.
        """
        seconds = MAX_AGE_SECONDS if seconds_left is None else min(MAX_AGE_SECONDS, seconds_left)
        entry = _Entry(key, reading.started_at + seconds)
        with self._lock:
            if reading.forgotten_count == self._forgotten_count and self._clock() < entry.valid_until:
                self._entries[digest] = entry

    def forget_all(self) -> None:
        """Have the next use of each key ask the database."""
        with self._lock:
            self._forgotten_count += 1
            self._entries = self._make_empty()

    def _make_empty(self) -> "TLRUCache[str, _Entry]":
        return TLRUCache(MAX_KEYS, ttu=lambda _digest, entry, _now: entry.valid_until, timer=self._clock)


recent_keys: Final = RecentKeys()


def forget_after_commit() -> None:
    """Have this process see a change of keys or accounts from its commit on. Other processes see it later."""
    transaction.on_commit(recent_keys.forget_all)
