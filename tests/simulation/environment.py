"""Environment of the code under test: simulated time, messages and store, and a real PostgreSQL."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from unittest import mock

from django.test.utils import override_settings
from django.utils import timezone

from storage import deletions, failpoints, images, orphans
from tests.simulation import actors, database
from tests.simulation.faults import Fault
from workers.lifecycle import admission, partials, queue_position, queue_readings
from workers.messaging import (
    completion_events,
    demand,
    enqueue,
    partial_images,
    progress_events,
    redis_client,
    worker_registry,
)
from workers.messaging.worker_registry import Worker
from workers.webhooks import outbox


class _InPlace(Executor):
    """An executor that runs a deletion in its caller's thread, which is the one that the simulator strikes."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        ended: Future[Any] = Future()
        ended.set_result(work(*args, **kwargs))
        return ended


_really_sleep, _real_monotonic = time.sleep, time.monotonic
_runs: list[Any] = []


def current_run() -> Any:
    """Return the simulator of this thread's actor."""
    return _runs[-1]


@contextmanager
def simulated() -> Iterator[None]:
    """Replace time, messages and store, so that scenarios can run in the block, one after another."""
    replaced = (
        (failpoints, "reach", _reach),
        (
            enqueue,
            "send",
            lambda *, generation_id: current_run().message_queue.send(generation_id=generation_id),
        ),
        (completion_events, "publish_ended", _publish_ended),
        (demand, "note", lambda **_: None),
        (outbox, "wake", lambda: None),
        (progress_events, "read", lambda **_: None),
        (queue_position, "find_place", partial(queue_position.find_place, clock=_monotonic)),
        (worker_registry, "list_alive", _alive),
        (worker_registry, "list_loading", list),
        (worker_registry, "publish", _show),
        (timezone, "now", _host_time),
        (deletions, "_pool", _InPlace()),
        (time, "sleep", _sleep),
        (time, "monotonic", _monotonic),
    )
    with ExitStack() as stack:
        stack.enter_context(
            override_settings(STORAGES={"objects": {"BACKEND": "tests.simulation.store.Store"}})
        )
        stack.enter_context(database.simulated(lambda: current_run().now))
        for owner, name, new in replaced:
            stack.enter_context(mock.patch.object(owner, name, new))
        # Thousands of faults happen on purpose, and each would be logged.
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield


@contextmanager
def played(run: Any) -> Iterator[None]:
    """Make this run the environment of the code under test in the block."""
    _runs.append(run)
    try:
        # What one scenario's processes remember must not change the next one, which a seed replays alone.
        readings = queue_readings.QueueReadings(clock=_monotonic)
        with (
            override_settings(
                OPEN_GENERATIONS_LIMIT=run.limits.synchronous, QUEUE_LIMIT=run.limits.asynchronous
            ),
            mock.patch.object(admission, "_readings", readings),
            mock.patch.object(queue_position, "_seen", {}),
            mock.patch.multiple(
                partial_images,
                publish=run.partial_images.publish,
                read=run.partial_images.read,
                forget=run.partial_images.forget,
            ),
            mock.patch.object(partials, "MAX_CANCELLED", run.limits.cancelled),
            mock.patch.object(images, "_delayed", deletions.Delayed[int]()),
            mock.patch.object(orphans, "_delayed", deletions.Delayed[str]()),
        ):
            yield
    finally:
        _runs.pop()


def _reach(point: str) -> None:
    actor = actors.current()
    if (
        actor is not None
        and actor.gate(f"it reaches {point!r}", Fault.BROKEN, Fault.RELIEVED) == Fault.BROKEN
    ):
        raise failpoints.FailpointReached


def _publish_ended(*, generation_id: int) -> None:
    if actor := actors.current():
        actor.gate(f"the end of {actor.simulator.name_of(generation_id)} is announced")


def _alive() -> list[Worker]:
    if actors.current().gate("Redis is asked for workers", Fault.BROKEN):
        raise redis_client.RedisUnavailable
    return [Worker("a", 0.5)]


def _show(**_: Any) -> None:
    if actors.current().gate("a worker shows itself", Fault.BROKEN):
        raise redis_client.RedisUnavailable


def _host_time() -> datetime:
    actor = actors.current()
    return current_run().now + actor.process.clock_ahead if actor else current_run().now


def _monotonic() -> float:
    return current_run().now.timestamp() if actors.current() else _real_monotonic()


def _sleep(seconds: float) -> None:
    actor = actors.current()
    if actor is None:
        _really_sleep(seconds)
    else:
        actor.stall(seconds)
