"""C4: clients that wait in one web process, ten of them and ten thousand.

A is Django's own ASGI handler with an asynchronous view, with as many clients as the database has connections for,
because it keeps a thread with a connection for each. B is the waiting room. Both are uvicorn with real requests,
keys, holds and images, whose completions the benchmark makes as a worker would. `more` clients come and are answered
while the others wait. In a storm, very many are answered at once, and requests that do not wait are timed beside it.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.db.models import Max
from django.test import override_settings
from django.utils import timezone

from bench import processor_time, web
from bench.accounts import open_accounts
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.web import Web
from storage import images
from storage.models import StoredImage
from workers.lifecycle import attempt_statements, generations
from workers.messaging import worker_registry
from workers.messaging.enqueue import GENERATE_TASK
from workers.messaging.redis_client import connection as broker
from workers.models import Generation, Status
from zekron_api.celery import app as celery

FEW: Final = 10
MANY: Final = 10_000
# A needs a connection for each client. PostgreSQL has two hundred here, and clients that come and go share the rest.
MANY_OF_A: Final = 60
MORE: Final = 200
MORE_AT_ONCE: Final = {"A": 50, "B": MORE}
STORM: Final = 1_000
# An account has at most five open generations, and sends sixty requests in a minute.
OPEN_A_ACCOUNT: Final = 5
# The number of requests that are sent at once.
AT_ONCE: Final = 250
# The pace of a busy fleet. The web process is not busy at it, so the wake-up is measured, and not a queue.
BETWEEN_ENDS_SECONDS: Final = 0.02
IMAGE: Final = b"an image of few bytes: another benchmark measures the cost of replies"
BODY: Final = '{"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}'
WORKER: Final = "benchmark waiting"
SHOW_SECONDS: Final = 3.0
APPLICATIONS: Final = {"A": "bench.baselines.django_alone:application", "B": "zekron_api.asgi:application"}
# Linux's folder in memory. On a disk, thousands of images a round would measure the disk.
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (each run makes its own folder in it)


class Context(NamedTuple):
    """The web processes, the number of clients that wait in each, and keys for those that come and go."""

    waiting: dict[str, int]
    webs: dict[str, Web]
    kib_each: dict[str, float]
    guests: Sequence[str]
    # Each round uses another key, because a key may send sixty requests in a minute.
    askers: Iterator[str]


@contextmanager
def _prepare() -> Iterator[Round]:
    _refuse_small_machines()
    with ExitStack() as stack:
        objects = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None))
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": objects}}
        stack.enter_context(override_settings(STORAGES={"objects": store}))
        stack.enter_context(_show_worker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {"STORAGE_URL": Path(objects).as_uri(), "SYNC_WAIT_SECONDS": "3600", "DEBUG": "1"}
        waiting = {"A few": FEW, "A many": MANY_OF_A, "B few": FEW, "B many": MANY}
        webs = {
            name: stack.enter_context(
                web.serve(APPLICATIONS[name[0]], name=f"bench {name}", folder=folder, environment=environment)
            )
            for name in waiting
        }
        guests = _issue_keys(STORM)
        kib_each = {name: _fill(webs[name], number, guests) for name, number in waiting.items()}
        context = Context(waiting, webs, kib_each, guests, cycle(reversed(guests)))
        yield lambda b_first: _measure(context, b_first)


def _refuse_small_machines() -> None:
    if not processor_time.PROC.is_dir():
        raise Skipped("the resources of other processes are read from /proc, which this system lacks")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MANY + 1000:
        raise Skipped(f"a process must be able to open {MANY:,} files here; raise `ulimit -Hn`")


def _fill(into: Web, number: int, guests: Sequence[str]) -> float:
    """Let this many clients wait from now on, and return the KiB that each has taken."""
    # The first requests load code that stays in memory.
    _answer(into, _post(into, guests[:FEW]))
    before = into.memory_bytes
    _post(into, _issue_keys(-(-number // OPEN_A_ACCOUNT)) * OPEN_A_ACCOUNT, max_count=number)
    return (into.memory_bytes - before) / number / 1024


def _measure(context: Context, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name in sorted(context.webs, reverse=b_first):
        more = _measure_more(context, context.webs[name], at_once=MORE_AT_ONCE[name[0]])
        samples |= {f"{what} {name}": value for what, value in more.items()}
    many = context.webs["B many"]
    new_ms, error_count = _measure_storm(context, many)
    return {
        "A": samples["CPU A many"],
        "B": samples["CPU B many"],
        "KiB a client": context.kib_each["B many"],
        "threads": many.thread_count,
        "database connections": many.database_connection_count,
        "errors": error_count + samples["errors B many"] + samples["errors B few"],
        "CPU's growth": samples["CPU B many"] / samples["CPU B few"],
        "ms from end to client, median": samples["median ms B many"],
        "ms from end to client, 99 %": samples["most ms B many"],
        "ms of a new request in a storm, 99 %": new_ms,
        "KiB a client of A": context.kib_each["A many"],
        "threads of A": context.webs["A many"].thread_count,
        "database connections of A": context.webs["A many"].database_connection_count,
        "CPU's growth of A": samples["CPU A many"] / samples["CPU A few"],
    }


def _measure_more(context: Context, asked: Web, *, at_once: int) -> dict[str, float]:
    """Return the processor time of one client that comes and goes while others wait, and its latencies."""
    before, answers, ended_at = asked.cpu_seconds, list[Any](), dict[int, float]()
    for start in range(0, MORE, at_once):
        ids = _post(asked, context.guests[start : start + at_once])
        some, some_ended_at = _answer(asked, ids, pause_seconds=BETWEEN_ENDS_SECONDS)
        answers, ended_at = answers + some, ended_at | some_ended_at
    cpu_seconds = (asked.cpu_seconds - before) / MORE
    latencies = [
        1000 * (answered - ended_at[number]) for _, number, _, answered in answers if number in ended_at
    ]
    return {
        "CPU": cpu_seconds,
        "errors": float(sum(status != 200 for status, *_ in answers)),
        "median ms": statistics.median(latencies),
        "most ms": statistics.quantiles(latencies, n=100)[98],
    }


def _measure_storm(context: Context, many: Web) -> tuple[float, int]:
    """Complete very many at once. Return the ms of a new request meanwhile, and the number of failed replies."""
    ids = _post(many, context.guests)
    made = _make(ids)
    # The completions are announced when all of them are committed.
    with transaction.atomic():
        for generation, image in made:
            _complete(generation, image)
    seconds = many.order(get=["/v1/balance", next(context.askers), 40])
    answers = many.order(answers=len(ids))
    return 1000 * statistics.quantiles(seconds, n=100)[98], sum(status != 200 for status, *_ in answers)


def _post(into: Web, whose: Sequence[str], max_count: int | None = None) -> list[int]:
    """Send a request with each key, and return the ids of their generations once all clients wait."""
    before = _find_newest()
    requests = [(key, BODY) for key in whose][:max_count]
    for start in range(0, len(requests), AT_ONCE):
        into.order(post=requests[start : start + AT_ONCE])
        _wait_for(before, min(start + AT_ONCE, len(requests)))
    return list(Generation.objects.filter(pk__gt=before).values_list("pk", flat=True))


def _answer(
    asked: Web, ids: Sequence[int], *, pause_seconds: float = 0
) -> tuple[list[Any], dict[int, float]]:
    """Complete the generations. Return the answers, and the time of each completion on the same clock."""
    made, ended_at = _make(ids), {}
    for generation, image in made:
        time.sleep(pause_seconds)
        ended_at[generation.pk] = time.monotonic()
        _complete(generation, image)
    return asked.order(answers=len(ids)), ended_at


def _make(ids: Sequence[int]) -> list[tuple[Generation, StoredImage]]:
    """Do a worker's part up to the completion."""
    return [(generations.claim_next(), _seal_image()) for _ in ids]


def _complete(generation: Generation, image: StoredImage) -> None:
    generations.complete(generation=generation, image=image, cost_micros=generation.quote_micros)


def _seal_image() -> StoredImage:
    return images.put(
        content=IMAGE,
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


def _issue_keys(number: int) -> list[str]:
    """Return keys of as many new accounts."""
    return [opened.key for opened in open_accounts(number)]


@contextmanager
def _show_worker() -> Iterator[None]:
    """Register a worker that is fast enough for all clients, and remove all traces of it afterwards."""
    ended = Event()

    def show() -> None:
        while not ended.wait(SHOW_SECONDS):
            worker_registry.publish(worker_name=WORKER, seconds_per_image=0.001)

    worker_registry.publish(worker_name=WORKER, seconds_per_image=0.001)
    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        worker_registry.remove(worker_name=WORKER)
        broker().delete(celery.conf.task_routes[GENERATE_TASK]["queue"])


BENCHMARKS: Final = (
    Benchmark(
        code="C4",
        name="waiting",
        a=f"{FEW} clients, then {MANY_OF_A}, wait in Django's ASGI handler with an asynchronous view",
        b=f"{FEW} clients, then {MANY:,}, wait in the waiting room",
        clock="CPU",
        figures=(
            Figure(name="KiB a client", at_least=40, aim=20, lower_is_better=True, unit=""),
            Figure(name="threads", at_least=16, lower_is_better=True, unit=""),
            Figure(name="database connections", at_least=10, lower_is_better=True, unit=""),
            Figure(name="errors", at_least=0, lower_is_better=True, unit=""),
            Figure(name="CPU's growth", at_least=1.3, aim=1.15, lower_is_better=True),
            Figure(name="ms from end to client, median", unit=""),
            Figure(name="ms from end to client, 99 %", at_least=50, lower_is_better=True, unit=""),
            Figure(name="ms of a new request in a storm, 99 %", unit=""),
            Figure(name="KiB a client of A", unit=""),
            Figure(name="threads of A", unit=""),
            Figure(name="database connections of A", unit=""),
            Figure(name="CPU's growth of A"),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
