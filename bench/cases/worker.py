"""C7: how much of the time the device has work.

The device is simulated: it sleeps for 50 or 250 ms an image, then gives a 1024² picture. All else is real: claimed from
PostgreSQL in its turn, encoded, sealed, stored, settled, announced. A does one generation after the other, as Celery's
solo pool does. B is the worker's threads around the batcher. How messages come to either is not part of it.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import count

import numpy as np
from django.db import connection
from django.test import override_settings

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.threads import seconds_together
from billing.models import Account
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, StepCallback, make
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import Heartbeat
from workers.models import Generation, Status

THREADS = 8
# Milliseconds of the device, and how many images are made with it.
DEVICES = {50: 60, 250: 24}
MANY = 100_000

_INSERT = """
WITH reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution)
    SELECT %(account)s, 26700, '' FROM generate_series(1, %(count)s)
    RETURNING id
)
INSERT INTO workers_generation
    (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, turn_at,
     not_before, deadline_at, created_at, hinted_at, error_code, error_type, error_detail)
SELECT %(account)s, row_number() OVER (ORDER BY id), id, 'create', 'zekron-image-1',
    'A serene mountain landscape at golden hour', '{"width": 1024, "height": 1024, "seed": 1}', 26700, 'queued', 0,
    now(), now(), now() + interval '1 day', now(), now(),
    '', '', ''
FROM reservation
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


def one_by_one(engine: SleepingEngine, images: int) -> None:
    """A process that does one thing at a time."""

    def submit_order(_: str, order: ImageOrder) -> "Future[Picture]":
        painted: Future[Picture] = Future()
        painted.set_result(make(engine, [order], on_step=lambda done, steps: None)[0])
        return painted

    _work_off(
        images,
        AttemptContext(submit_order=submit_order, heartbeat=Heartbeat(worker_name="benchmark")),
        threads=1,
    )


def by_threads(engine: SleepingEngine, images: int) -> None:
    """The worker of this project."""
    batcher = Batcher(engine)
    try:
        heartbeat = Heartbeat(worker_name="benchmark")
        context = AttemptContext(submit_order=lambda _, order: batcher.submit(order), heartbeat=heartbeat)
        _work_off(images, context, threads=THREADS)
    finally:
        batcher.close()


def _work_off(images: int, context: AttemptContext, *, threads: int) -> None:
    messages = iter(range(images))
    completed = Generation.objects.filter(status=Status.COMPLETED)
    before = completed.count()

    def work() -> None:
        # A range's iterator gives each number once, whoever asks.
        for _ in messages:
            attempt.run_next(context=context)

    seconds_together([work] * threads)
    assert completed.count() == before + images


@contextmanager
def _ready(queued: int) -> Iterator[Round]:
    picture = np.array(pictures.typical())
    with tempfile.TemporaryDirectory() as name, _queue(queued):
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": name}}
        with override_settings(STORAGES={"objects": store}):
            yield partial(_measure, picture, queued)


def _measure(picture: Picture, queued: int, b_first: bool) -> Samples:
    samples = {}
    for ours in (True, False) if b_first else (False, True):
        for milliseconds, images in DEVICES.items():
            engine = SleepingEngine(milliseconds / 1000, picture)
            with _queue(0 if queued else images):
                (by_threads if ours else one_by_one)(engine, images)
            samples[f"{'busy' if ours else 'busy of A'} at {milliseconds} ms"] = engine.busy
    return samples


@contextmanager
def _queue(count: int) -> Iterator[None]:
    """So many generations that wait, of an account of their own; what was not made of them is forgotten."""
    held_micros = 26_700 * count
    account = Account.objects.create(
        name=f"benchmark worker {next(_names)}",
        balance_micros=held_micros,
        reserved_micros=held_micros,
        hold_count=count,
        open_hold_count=count,
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"account": account.pk, "count": count})
        cursor.execute("ANALYZE workers_generation")
    yield
    Generation.objects.filter(account=account, status=Status.QUEUED).delete()


def _worker(name: str, what: str, queued: int) -> Benchmark:
    devices = list(DEVICES)
    return Benchmark(
        code="C7",
        name=name,
        a=f"a simulated device of {' and '.join(map(str, devices))} ms an image, one generation after the other{what}",
        b=f"the same in {THREADS} threads around workers.engine.batcher",
        clock="wall",
        figures=(
            *(Figure(name=f"busy at {device} ms", at_least=0.985, aim=0.995, unit="") for device in devices),
            *(Figure(name=f"busy of A at {device} ms", unit="") for device in devices),
        ),
        ready=partial(_ready, queued),
        needs_database=True,
    )


BENCHMARKS = (
    _worker("worker", "", 0),
    _worker("worker-queue", f", taken from a queue of {MANY:,}", MANY),
)
