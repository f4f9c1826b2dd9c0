"""C7: the share of the time in which the device has work.

The device is simulated. It sleeps for 50 or 250 ms an image, and then returns a 1024² picture. Everything else is
real: a generation is claimed from PostgreSQL in its turn, encoded, sealed, stored, settled and announced. A makes one
generation after the other, as Celery's solo pool does. B is the worker's threads around the batcher. The transport of
messages is not measured.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

import numpy as np
from django.db import connection
from django.test import override_settings

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.threads import measure_together
from billing.models import Account
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, StepCallback
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import Heartbeat
from workers.models import Generation, Status

THREADS: Final = 8
# The milliseconds of a device for an image, and the number of images to make with it.
DEVICES: Final = {50: 60, 250: 24}
MANY: Final = 100_000

_INSERT: Final = """
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
    """An Engine whose device needs a fixed time for an image, and which notes when it worked."""

    batch_limit = 1

    def __init__(self, seconds: float, picture: Picture) -> None:
        self.busy_seconds = 0.0
        self.began_at: float | None = None
        self.ended_at = 0.0
        self._seconds = seconds
        self._picture = picture

    def batch_key(self, order: ImageOrder) -> object:
        """Return None, because another benchmark measures batches."""
        return None

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Return the orders."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[ImageOrder]:
        """Sleep."""
        started = time.perf_counter()
        self.began_at = self.began_at or started
        time.sleep(self._seconds)
        self.ended_at = time.perf_counter()
        self.busy_seconds += self.ended_at - started
        return prepared

    def decode(self, denoised: Sequence[ImageOrder]) -> list[Picture]:
        """Return the same picture for each order."""
        return [self._picture for _ in denoised]

    @property
    def busy(self) -> float:
        """Return the busy share of the time from its first work to its last."""
        assert self.began_at is not None
        return self.busy_seconds / (self.ended_at - self.began_at)


def run_one_by_one(engine: SleepingEngine, images: int) -> None:
    """Make the images in a process that does one thing at a time."""

    def submit_order(_: str, order: ImageOrder, _on_step: StepCallback | None) -> "Future[Picture]":
        future: Future[Picture] = Future()
        future.set_result(
            engine.decode(engine.denoise(engine.prepare([order]), on_step=lambda done, steps: None))[0]
        )
        return future

    _work_through(
        images,
        AttemptContext(submit_order=submit_order, heartbeat=Heartbeat(worker_name="benchmark")),
        threads=1,
    )


def run_in_threads(engine: SleepingEngine, images: int) -> None:
    """Make the images as this project's worker does."""
    batcher = Batcher(engine)
    try:
        heartbeat = Heartbeat(worker_name="benchmark")
        context = AttemptContext(
            submit_order=lambda _, order, on_step: batcher.submit(order, on_step), heartbeat=heartbeat
        )
        _work_through(images, context, threads=THREADS)
    finally:
        batcher.close()


def _work_through(images: int, context: AttemptContext, *, threads: int) -> None:
    messages = iter(range(images))
    completed = Generation.objects.filter(status=Status.COMPLETED)
    before = completed.count()

    def work() -> None:
        # A range's iterator gives each number to one thread only.
        for _ in messages:
            attempt.run_next(context=context)

    measure_together([work] * threads)
    assert completed.count() == before + images


@contextmanager
def _prepare(queued: int) -> Iterator[Round]:
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
                (run_in_threads if ours else run_one_by_one)(engine, images)
            samples[f"{'busy' if ours else 'busy of A'} at {milliseconds} ms"] = engine.busy
    return samples


@contextmanager
def _queue(count: int) -> Iterator[None]:
    """Queue this many generations of an account of their own, and delete the rest afterwards."""
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


def _build_benchmark(name: str, what: str, queued: int) -> Benchmark:
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
        prepare=partial(_prepare, queued),
        needs_database=True,
    )


BENCHMARKS: Final = (
    _build_benchmark("worker", "", 0),
    _build_benchmark("worker-queue", f", taken from a queue of {MANY:,}", MANY),
)
