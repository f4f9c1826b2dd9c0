"""C4: clients that wait in one web process, ten of them and ten thousand.

A is Django's own ASGI handler with an asynchronous view, up to as many clients as the database has connections for: it
keeps a thread with its connection for each. B is the waiting room. Both are uvicorn with real requests, keys, holds and
images, whose completions the benchmark makes as a worker would. `more` clients come and are answered while the others
wait; in a storm very many are answered at once, and requests that do not wait are timed beside.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.db.models import Max
from django.test import override_settings
from django.utils import timezone

from bench import processor_time, web
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.web import Web
from billing import keys
from billing.models import Account, ApiKey
from storage import images
from storage.models import StoredImage
from workers.lifecycle import generations
from workers.messaging import worker_registry
from workers.messaging.enqueue import GENERATE_TASK
from workers.messaging.redis_client import connection as broker
from workers.models import Generation, Status
from zekron_api.celery import app as celery

FEW: Final = 10
MANY: Final = 10_000
# A has a connection for each client, and PostgreSQL here has two hundred: those who come and go share what is left.
MANY_OF_A: Final = 60
MORE: Final = 200
MORE_AT_ONCE: Final = {"A": 50, "B": MORE}
STORM: Final = 1_000
# An account has five open at most, and sends sixty in a minute.
OPEN_A_ACCOUNT: Final = 5
# So many requests are on their way at once.
AT_ONCE: Final = 250
# A busy fleet's pace, at which the web process is not: what is measured is the waking, not a queue before it.
BETWEEN_ENDS_SECONDS: Final = 0.02
IMAGE: Final = b"an image of few bytes: what replies cost is another benchmark's"
BODY: Final = '{"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}'
WORKER: Final = "benchmark waiting"
SHOW_SECONDS: Final = 3.0
APPLICATIONS: Final = {"A": "bench.baselines.django_alone:application", "B": "zekron_api.asgi:application"}
# Linux's folder in memory: thousands of images a round would measure the disk.
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (a folder of one's own is made in it)

_names = count(1)


class Scene(NamedTuple):
    """The web processes, how many wait in each, and keys for those that come and go."""

    waiting: dict[str, int]
    webs: dict[str, Web]
    kib_each: dict[str, float]
    guests: Sequence[str]
    # Another each round, for it may send sixty in a minute.
    askers: Iterator[str]


@contextmanager
def _ready() -> Iterator[Round]:
    _refuse_small_machines()
    with ExitStack() as stack:
        objects = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None))
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": objects}}
        stack.enter_context(override_settings(STORAGES={"objects": store}))
        stack.enter_context(_a_worker_lives())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {"STORAGE_URL": Path(objects).as_uri(), "SYNC_WAIT_SECONDS": "3600", "DEBUG": "1"}
        waiting = {"A few": FEW, "A many": MANY_OF_A, "B few": FEW, "B many": MANY}
        webs = {
            name: stack.enter_context(
                web.serving(
                    APPLICATIONS[name[0]], name=f"bench {name}", folder=folder, environment=environment
                )
            )
            for name in waiting
        }
        guests = _keys(STORM)
        kib_each = {name: _fill(webs[name], number, guests) for name, number in waiting.items()}
        scene = Scene(waiting, webs, kib_each, guests, cycle(reversed(guests)))
        yield lambda b_first: _measure(scene, b_first)


def _refuse_small_machines() -> None:
    if not processor_time.PROC.is_dir():
        raise Skipped("what other processes take is read from /proc, which this system lacks")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MANY + 1000:
        raise Skipped(f"a process may not open {MANY:,} files here: see `ulimit -Hn`")


def _fill(into: Web, number: int, guests: Sequence[str]) -> float:
    """So many clients wait from now on; KiB that each has taken."""
    # What the first requests load stays, however many follow.
    _answer(into, _post(into, guests[:FEW]))
    before = into.memory_bytes
    _post(into, _keys(-(-number // OPEN_A_ACCOUNT)) * OPEN_A_ACCOUNT, most=number)
    return (into.memory_bytes - before) / number / 1024


def _measure(scene: Scene, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name in sorted(scene.webs, reverse=b_first):
        more = _more(scene, scene.webs[name], at_once=MORE_AT_ONCE[name[0]])
        samples |= {f"{what} {name}": value for what, value in more.items()}
    many = scene.webs["B many"]
    new_ms, error_count = _storm(scene, many)
    return {
        "A": samples["CPU A many"],
        "B": samples["CPU B many"],
        "KiB a client": scene.kib_each["B many"],
        "threads": many.thread_count,
        "database connections": many.database_connection_count,
        "errors": error_count + samples["errors B many"] + samples["errors B few"],
        "CPU's growth": samples["CPU B many"] / samples["CPU B few"],
        "ms from end to client, median": samples["median ms B many"],
        "ms from end to client, 99 %": samples["most ms B many"],
        "ms of a new request in a storm, 99 %": new_ms,
        "KiB a client of A": scene.kib_each["A many"],
        "threads of A": scene.webs["A many"].thread_count,
        "database connections of A": scene.webs["A many"].database_connection_count,
        "CPU's growth of A": samples["CPU A many"] / samples["CPU A few"],
    }


def _more(scene: Scene, asked: Web, *, at_once: int) -> dict[str, float]:
    """Clients come and are answered while the others wait: CPU of one, and how long the answers take."""
    before, answers, ended_at = asked.cpu_seconds, list[Any](), dict[int, float]()
    for start in range(0, MORE, at_once):
        ids = _post(asked, scene.guests[start : start + at_once])
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


def _storm(scene: Scene, many: Web) -> tuple[float, int]:
    """Very many end at the same moment: what a new request then takes, in ms, and how many replies were errors."""
    ids = _post(many, scene.guests)
    made = _made(ids)
    # Announced when all of it is committed.
    with transaction.atomic():
        for generation, image in made:
            _complete(generation, image)
    seconds = many.order(get=["/v1/balance", next(scene.askers), 40])
    answers = many.order(answers=len(ids))
    return 1000 * statistics.quantiles(seconds, n=100)[98], sum(status != 200 for status, *_ in answers)


def _post(into: Web, whose: Sequence[str], most: int | None = None) -> list[int]:
    """Sends a request with each key; returns the ids of what they are waiting for, once they all wait."""
    before = _newest()
    requests = [(key, BODY) for key in whose][:most]
    for start in range(0, len(requests), AT_ONCE):
        into.order(post=requests[start : start + AT_ONCE])
        _wait_for(before, min(start + AT_ONCE, len(requests)))
    return list(Generation.objects.filter(pk__gt=before).values_list("pk", flat=True))


def _answer(
    asked: Web, ids: Sequence[int], *, pause_seconds: float = 0
) -> tuple[list[Any], dict[int, float]]:
    """Completes them and takes the answers; and when each had ended, on the same clock."""
    made, ended_at = _made(ids), {}
    for generation, image in made:
        time.sleep(pause_seconds)
        ended_at[generation.pk] = time.monotonic()
        _complete(generation, image)
    return asked.order(answers=len(ids)), ended_at


def _made(ids: Sequence[int]) -> list[tuple[Generation, StoredImage]]:
    """The worker's part, but for completing it."""
    return [(generations.claim(generation_id=number), _sealed()) for number in ids]


def _complete(generation: Generation, image: StoredImage) -> None:
    generations.complete(generation=generation, image=image, cost_micros=generation.quote_micros)


def _sealed() -> StoredImage:
    return images.put(
        content=IMAGE,
        mime_type="image/png",
        associated_data="benchmark",
        expires_at=timezone.now() + generations.IMAGE_LIFE,
    )


def _newest() -> int:
    return Generation.objects.aggregate(newest=Max("pk"))["newest"] or 0


def _wait_for(before: int, number: int) -> None:
    give_up_at = time.monotonic() + 60
    queued = Generation.objects.filter(pk__gt=before, status=Status.QUEUED)
    while queued.count() < number:
        assert time.monotonic() < give_up_at, f"only {queued.count()} of {number} were accepted"
        time.sleep(0.02)


def _keys(number: int) -> list[str]:
    """Keys of as many new accounts."""
    names = [f"benchmark waiting {next(_names)}" for _ in range(number)]
    owners = Account.objects.bulk_create(
        [Account(name=name, balance_micros=10**9) for name in names], batch_size=1000
    )
    texts = [f"{keys.PREFIX}{name.replace(' ', '')}" for name in names]
    ApiKey.objects.bulk_create(
        [
            ApiKey(account=owner, digest=keys.digest(text), prefix=text[:12], last_four=text[-4:])
            for owner, text in zip(owners, texts, strict=True)
        ],
        batch_size=1000,
    )
    return texts


@contextmanager
def _a_worker_lives() -> Iterator[None]:
    """Shows one that is fast enough for everybody; afterwards nothing is left that a service would take for its own."""
    ended = Event()

    def show() -> None:
        while not ended.wait(SHOW_SECONDS):
            worker_registry.show(worker_name=WORKER, seconds_per_image=0.001)

    worker_registry.show(worker_name=WORKER, seconds_per_image=0.001)
    thread = Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        worker_registry.leave(worker_name=WORKER)
        broker().delete(celery.conf.task_routes[GENERATE_TASK]["queue"])


BENCHMARKS = (
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
        ready=_ready,
        needs_database=True,
    ),
)
