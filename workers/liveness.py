"""The state of this process for the probes of its supervisor: its long-lived threads, and whether it takes work."""

import threading
from collections.abc import Callable
from typing import Final

_watched: Final[set[threading.Thread]] = set()
_is_ready: Final = threading.Event()


def run_watched(work: Callable[[], object]) -> None:
    """Run the whole work of the current thread, which counts as dead if an error ends it."""
    thread = threading.current_thread()
    _watched.add(thread)
    work()
    _watched.discard(thread)


def list_dead() -> list[str]:
    """Return the names of the long-lived threads that an error has ended."""
    return sorted(thread.name for thread in set(_watched) if not thread.is_alive())


def note_ready() -> None:
    """Note that the process takes work from now on. It may be called twice."""
    _is_ready.set()


def is_ready() -> bool:
    """Return whether the process takes work. A GPU worker does so once its models are loaded."""
    return _is_ready.is_set()
