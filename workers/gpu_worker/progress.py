"""The progress reporter, a thread that publishes the steps of the running generations a few times a second.

The thread that drives the device only notes a step, so it never waits for Redis.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from workers import liveness
from workers.engine.interface import StepCallback
from workers.messaging import background, progress_events
from workers.messaging.progress_events import Step

# One message holds the steps of all generations, so a worker sends at most four in a second. A generation that ends
# sooner sends none.
INTERVAL_SECONDS: Final = 0.25


class ProgressReporter:
    """A thread that publishes the latest step of each generation that is followed. Call `start` and `close` once."""

    def __init__(self, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._latest: dict[int, Step] = {}
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=liveness.run_watched, args=(self._run,), name="progress", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Steps that are not published yet are dropped."""
        self._closed.set()
        self._changed.set()
        self._thread.join()

    @contextmanager
    def follow(self, generation_id: int) -> Iterator[StepCallback]:
        """Give the callback for the engine's steps, which returns at once, and publish nothing after the block."""

        def note(done: int, total: int) -> None:
            with self._lock:
                self._latest[generation_id] = Step(done, total)
            self._changed.set()

        try:
            yield note
        finally:
            with self._lock:
                self._latest.pop(generation_id, None)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._changed.wait()
            self._closed.wait(self._interval_seconds)
            background.survive(name="progress", work=self._publish)

    def _publish(self) -> None:
        self._changed.clear()
        with self._lock:
            steps, self._latest = self._latest, {}
        if steps and not self._closed.is_set():
            progress_events.publish(steps=steps)
