"""C7: how much of the time the device has work.

The device is simulated: it sleeps for 50 or 250 ms an image, then gives a 1024² picture. All else is real: claimed from
PostgreSQL, encoded, sealed, stored, settled, announced. A does one generation after the other, as Celery's solo pool
does. B is the worker's threads around `workers.batcher`. How messages come to either is not part of it. B is also
measured while 100,000 other generations wait in the table.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue

import numpy as np
from django.db import connection
from django.test import override_settings

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.threads import seconds_together
from billing.models import Account
from workers import attempt
from workers.attempt import Studio
from workers.batcher import Batcher
from workers.engine import ImageOrder, Picture, StepCallback, make
from workers.heartbeat import Heartbeat
from workers.models import Generation, Status

THREADS = 8
# Seconds of the device, and how many images a round makes.
SHORT, LONG = (0.05, 60), (0.25, 24)
OTHERS = 100_000

_INSERT = """
WITH reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution)
    SELECT %(account)s, 26700, '' FROM generate_series(1, %(count)s)
    RETURNING id
)
INSERT INTO workers_generation
    (account_id, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, not_before,
     deadline_at, created_at, hinted_at, error_code, error_type, error_detail)
SELECT %(account)s, id, 'create', 'zekron-image-1', 'A serene mountain landscape at golden hour',
    '{"width": 1024, "height": 1024, "seed": 1}', 26700, 'queued', 0, now(), now() + interval '1 day', now(), now(),
    '', '', ''
FROM reservation
RETURNING id
"""

_names = count(1)


class SleepingEngine:
    """An Engine whose device needs so many seconds an image, and that notes when it worked."""

    batch_limit = 1

    def __init__(self, seconds: float, picture: Picture) -> None:
        self.busy_seconds = 0.0
        self.began_at: float | None = None
        self.ended_at = 0.0
        self._seconds = seconds
        self._picture = picture

    def batch_key(self, order: ImageOrder) -> object:
        """Nothing is made together: that is another benchmark's."""
        return None

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Nothing."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[ImageOrder]:
        """Sleeps."""
        started = time.perf_counter()
        self.began_at = self.began_at or started
        time.sleep(self._seconds)
        self.ended_at = time.perf_counter()
        self.busy_seconds += self.ended_at - started
        return prepared

    def decode(self, denoised: Sequence[ImageOrder]) -> list[Picture]:
        """The same picture for each order."""
        return [self._picture for _ in denoised]

    @property
    def busy(self) -> float:
        """The share of the time from its first work to its last in which it worked."""
        assert self.began_at is not None
        return self.busy_seconds / (self.ended_at - self.began_at)


def one_by_one(engine: SleepingEngine, ids: Sequence[int]) -> None:
    """A process that does one thing at a time."""

    def paint(_: str, order: ImageOrder) -> "Future[Picture]":
        painted: Future[Picture] = Future()
        painted.set_result(make(engine, [order], on_step=lambda done, steps: None)[0])
        return painted

    _work_off(ids, Studio(paint=paint, heartbeat=Heartbeat(worker_name="benchmark")), threads=1)


def by_threads(engine: SleepingEngine, ids: Sequence[int]) -> None:
    """The worker of this project."""
    batcher = Batcher(engine)
    try:
        studio = Studio(
            paint=lambda _, order: batcher.submit(order), heartbeat=Heartbeat(worker_name="benchmark")
        )
        _work_off(ids, studio, threads=THREADS)
    finally:
        batcher.close()


def _work_off(ids: Sequence[int], studio: Studio, *, threads: int) -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    for generation_id in ids:
        queue.put(generation_id)

    def work() -> None:
        while True:
            try:
                generation_id = queue.get_nowait()
            except Empty:
                return
            attempt.run(generation_id=generation_id, studio=studio)

    seconds_together([work] * threads)
    assert not Generation.objects.filter(pk__in=ids).exclude(status=Status.COMPLETED).exists()


@contextmanager
def _ready() -> Iterator[Round]:
    picture = np.array(pictures.typical())
    with tempfile.TemporaryDirectory() as name:
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": name}}
        with override_settings(STORAGES={"objects": store}):
            yield partial(_measure, picture)


def _measure(picture: Picture, b_first: bool) -> Samples:
    def busy(length: tuple[float, int], *, threads: bool) -> float:
        seconds, images = length
        engine = SleepingEngine(seconds, picture)
        (by_threads if threads else one_by_one)(engine, _queue(images))
        return engine.busy

    samples = {}
    for ours in (True, False) if b_first else (False, True):
        whose = "busy" if ours else "busy of A"
        samples[f"{whose} at 50 ms"] = busy(SHORT, threads=ours)
        samples[f"{whose} at 250 ms"] = busy(LONG, threads=ours)
    others = _queue(OTHERS)
    samples["busy behind 100,000"] = busy(SHORT, threads=True)
    _forget(others)
    return {**samples, "flat": samples["busy behind 100,000"] / samples["busy at 50 ms"]}


def _queue(count: int) -> list[int]:
    """So many generations that wait, of an account of their own."""
    held_micros = 26_700 * count
    account = Account.objects.create(
        name=f"benchmark worker {next(_names)}", balance_micros=held_micros, reserved_micros=held_micros
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"account": account.pk, "count": count})
        return [pk for (pk,) in cursor.fetchall()]


def _forget(ids: Sequence[int]) -> None:
    Generation.objects.filter(pk__gte=ids[0], pk__lte=ids[-1], status=Status.QUEUED).delete()


def _busy(name: str) -> Figure:
    return Figure(name=name, at_least=0.985, aim=0.995, unit="")


BENCHMARKS = (
    Benchmark(
        code="C7",
        name="worker",
        a="a simulated device of 50 and 250 ms an image, one generation after the other",
        b=f"the same in {THREADS} threads around workers.batcher, also behind a queue of {OTHERS:,}",
        clock="wall",
        figures=(
            _busy("busy at 50 ms"),
            _busy("busy at 250 ms"),
            _busy("busy behind 100,000"),
            Figure(name="flat", at_least=0.99, unit=""),
            Figure(name="busy of A at 50 ms", unit=""),
            Figure(name="busy of A at 250 ms", unit=""),
        ),
        ready=_ready,
        needs_database=True,
    ),
)
