"""Clients that wait in the web processes of a benchmark, and the worker's part, which the benchmark plays."""

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from django.db.models import Max
from django.test import override_settings
from django.utils import timezone

from bench import processor_time
from bench.accounts import open_accounts
from bench.benchmark import Figure, Skipped
from bench.web import Web
from storage import images
from storage.models import StoredImage
from workers.lifecycle import attempt_statements, generations
from workers.messaging import worker_registry
from workers.messaging.enqueue import GENERATE_TASK
from workers.messaging.redis_client import connection as broker
from workers.models import Generation, Status
from zekron_api.celery import app as celery

# An account has at most five open generations, and sends sixty requests in a minute.
OPEN_A_ACCOUNT: Final = 5
# The number of requests that are sent at once.
AT_ONCE: Final = 250
BODY: Final = '{"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}'
_IMAGE: Final = b"an image of few bytes: another benchmark measures the cost of replies"
_WORKER: Final = "benchmark waiting"
_SHOW_SECONDS: Final = 3.0
_LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
# Linux's folder in memory. On a disk, thousands of images a round would measure the disk.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (each run makes its own folder in it)

# What no number of clients may take of a web process.
FIGURES: Final = (
    Figure(name="threads", at_least=16, lower_is_better=True, unit=""),
    Figure(name="database connections", at_least=10, lower_is_better=True, unit=""),
    Figure(name="errors", at_least=0, lower_is_better=True, unit=""),
)


@contextmanager
def prepare() -> Iterator[dict[str, str]]:
    """Show a fast worker and take a store in memory. Return the variables of web processes whose clients wait long."""
    with ExitStack() as stack:
        objects = stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None))
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": objects}}
        stack.enter_context(override_settings(STORAGES={"objects": store}))
        stack.enter_context(_show_worker())
        yield {"STORAGE_URL": Path(objects).as_uri(), "SYNC_WAIT_SECONDS": "3600", "DEBUG": "1"}


def refuse_small_machines(client_count: int) -> None:
    """Raise Skipped where a process cannot have so many clients, or cannot be measured."""
    if not processor_time.PROC.is_dir():
        raise Skipped("the resources of other processes are read from /proc, which this system lacks")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < client_count + 1000:
        raise Skipped(
            f"a process must be able to open {client_count + 1000:,} files here; raise `ulimit -Hn`"
        )


def post(into: Web, whose: Sequence[str], max_count: int | None = None, *, order: str = "post") -> list[int]:
    """Send a request with each key, and return the ids of their generations once all clients wait.

    With the order "stream" they ask for events.
    """
    before = _find_newest()
    requests = [(key, BODY) for key in whose][:max_count]
    for start in range(0, len(requests), AT_ONCE):
        into.order(**{order: requests[start : start + AT_ONCE]})
        _wait_for(before, min(start + AT_ONCE, len(requests)))
    return list(Generation.objects.filter(pk__gt=before).values_list("pk", flat=True))


def answer(asked: Web, ids: Sequence[int], *, pause_seconds: float = 0) -> tuple[list[Any], dict[int, float]]:
    """Complete the generations. Return the answers, and the time of each completion on the same clock."""
    made, ended_at = make(ids), {}
    for generation, image in made:
        time.sleep(pause_seconds)
        ended_at[generation.pk] = time.monotonic()
        complete(generation, image)
    return asked.order(answers=len(ids)), ended_at


def make(ids: Sequence[int]) -> list[tuple[Generation, StoredImage]]:
    """Do a worker's part up to the completion, for these generations before all others."""
    Generation.objects.filter(pk__in=ids).update(turn_at=_LONG_AGO)
    return [(generations.claim_next(), _seal_image()) for _ in ids]


def complete(generation: Generation, image: StoredImage) -> None:
    """Complete the generation, as its worker does."""
    generations.complete(generation=generation, image=image, cost_micros=generation.quote_micros)


def issue_keys(number: int) -> list[str]:
    """Return keys of as many new accounts."""
    return [opened.key for opened in open_accounts(number)]


def issue_keys_for(client_count: int) -> list[str]:
    """Return a key for each client, and as few accounts as may have so many open generations."""
    return issue_keys(-(-client_count // OPEN_A_ACCOUNT)) * OPEN_A_ACCOUNT


def _seal_image() -> StoredImage:
    return images.put(
        content=_IMAGE,
        mime_type="image/png",
        associated_data="benchmark",
        expires_at=timezone.now() + attempt_statements.IMAGE_LIFE,
    )


def _find_newest() -> int:
    return Generation.objects.aggregate(newest=Max("pk"))["newest"] or 0


def _wait_for(before: int, number: int) -> None:
    give_up_at = time.monotonic() + 60
    queued = Generation.objects.filter(pk__gt=before, status=Status.QUEUED)
    while queued.count() < number:
        assert time.monotonic() < give_up_at, f"only {queued.count()} of {number} were accepted"
        time.sleep(0.02)


@contextmanager
def _show_worker() -> Iterator[None]:
    """Register a worker that is fast enough for all clients, and remove all traces of it afterwards."""
    ended = Event()

    def show() -> None:
        while not ended.wait(_SHOW_SECONDS):
            worker_registry.publish(worker_name=_WORKER, seconds_per_image=0.001)

    worker_registry.publish(worker_name=_WORKER, seconds_per_image=0.001)
    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        worker_registry.remove(worker_name=_WORKER)
        broker().delete(celery.conf.task_routes[GENERATE_TASK]["queue"])
