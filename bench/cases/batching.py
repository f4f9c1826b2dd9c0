"""C19: the latency of a mixed open-loop load, with batches by measured gain and by arrival alone.

The device is simulated by the costs that an H200 had for FLUX.2-klein-4B: four creates together take it as long as
four alone. Creates of 512x512 and of 1024x1024 and edits of two sources arrive at random, independent of the device.
A takes orders as they came and puts all compatible ones that wait into a batch; B is the batcher.
"""

import queue
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from bench.benchmark import Benchmark, Figure, Round, Samples
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, StepCallback

# The device's milliseconds for an order, divided by this to keep the benchmark short.
SPEED_UP: Final = 4
COSTS: Final = {(512, 0): 85.0, (1024, 0): 287.0, (1024, 2): 950.0}
WEIGHTS: Final = (6, 3, 1)
BATCH_LIMIT: Final = 4
JOBS: Final = 120
LOAD: Final = 0.8
_SOURCE: Final = Image.new("RGB", (64, 64))
_PICTURE: Final = np.zeros((8, 8, 3), np.uint8)


class CostedEngine:
    """An Engine that sleeps for what its orders cost."""

    batch_limit = BATCH_LIMIT

    def batch_key(self, order: ImageOrder) -> tuple[int, int]:
        """Return the side and the number of sources."""
        return order.width, len(order.sources)

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Return the orders."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[ImageOrder]:
        """Sleep."""
        time.sleep(len(prepared) * _cost_seconds(prepared[0]))
        return prepared

    def decode(self, denoised: Sequence[ImageOrder]) -> list[Picture]:
        """Return a picture for each order."""
        return [_PICTURE] * len(denoised)


@contextmanager
def _prepare() -> Iterator[Round]:
    rounds = iter(range(1_000))

    def measure(b_first: bool) -> Samples:
        load = list(_draw_load(seed=next(rounds)))
        measured = {}
        for name in "BA" if b_first else "AB":
            measured[name] = sorted(_measure_by_arrival(load) if name == "A" else _measure_batcher(load))
        (a50, a99), (b50, b99) = (_percentiles(measured[name]) for name in "AB")
        return {"p50 ratio": a50 / b50, "p99 ratio": a99 / b99, "p50 ms": 1000 * b50, "p99 ms": 1000 * b99}

    yield measure


def _draw_load(*, seed: int) -> Iterator[tuple[float, ImageOrder]]:
    """Yield orders with the seconds at which they arrive, as a Poisson process."""
    draw = random.Random(seed)  # noqa: S311
    kinds = draw.choices(list(COSTS), WEIGHTS, k=JOBS)
    mean = statistics.fmean(COSTS[kind] for kind in kinds) / 1000 / SPEED_UP / LOAD
    at = 0.0
    for side, sources in kinds:
        at += draw.expovariate(1 / mean)
        yield at, ImageOrder(prompt="a", width=side, height=side, seed=0, sources=(_SOURCE,) * sources)


def _measure_batcher(load: Sequence[tuple[float, ImageOrder]]) -> list[float]:
    batcher = Batcher(CostedEngine(), more_may_come=lambda: False)
    try:
        return _submit_each(load, batcher.submit)
    finally:
        batcher.close()


def _measure_by_arrival(load: Sequence[tuple[float, ImageOrder]]) -> list[float]:
    waiting: queue.SimpleQueue[tuple[ImageOrder, Future[Picture]] | None] = queue.SimpleQueue()

    def submit(order: ImageOrder) -> "Future[Picture]":
        future: Future[Picture] = Future()
        waiting.put((order, future))
        return future

    server = threading.Thread(target=_serve_by_arrival, args=(waiting,))
    server.start()
    try:
        return _submit_each(load, submit)
    finally:
        waiting.put(None)
        server.join()


def _serve_by_arrival(waiting: "queue.SimpleQueue[tuple[ImageOrder, Future[Picture]] | None]") -> None:
    engine = CostedEngine()
    kept: list[tuple[ImageOrder, Future[Picture]] | None] = []
    while True:
        if not kept:
            kept.append(waiting.get())
        while not waiting.empty():
            kept.append(waiting.get())
        if kept[0] is None:
            return
        key = engine.batch_key(kept[0][0])
        batch = [each for each in kept if each and engine.batch_key(each[0]) == key][:BATCH_LIMIT]
        kept = [each for each in kept if each not in batch]
        pictures = engine.decode(engine.denoise([order for order, _ in batch], on_step=lambda *_: None))
        for (_, future), picture in zip(batch, pictures, strict=True):
            future.set_result(picture)


def _submit_each(
    load: Sequence[tuple[float, ImageOrder]], submit: Callable[[ImageOrder], "Future[Picture]"]
) -> list[float]:
    """Submit each order at its time, and return the seconds until each picture was there."""
    started = time.perf_counter()
    ended: dict[int, float] = {}
    futures = []
    for number, (at, order) in enumerate(load):
        time.sleep(max(0.0, started + at - time.perf_counter()))
        future = submit(order)
        future.add_done_callback(partial(_note_end, ended, number))
        futures.append(future)
    for future in futures:
        future.result()
    return [ended[number] - started - at for number, (at, _) in enumerate(load)]


def _note_end(ended: dict[int, float], number: int, _future: "Future[Picture]") -> None:
    ended[number] = time.perf_counter()


def _percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    return latencies[len(latencies) // 2], latencies[int(0.99 * len(latencies))]


def _cost_seconds(order: ImageOrder) -> float:
    return COSTS[order.width, len(order.sources)] / 1000 / SPEED_UP


BENCHMARKS: Final = [
    Benchmark(
        code="C19",
        name="mixed-load",
        a=f"{JOBS} orders at {LOAD:.0%} of the device's time, first come first served, full batches",
        b="the same orders through the batcher",
        clock="wall",
        figures=(
            Figure(name="p99 ratio", at_least=1.0),
            Figure(name="p50 ratio"),
            Figure(name="p99 ms", unit=" ms", lower_is_better=True),
            Figure(name="p50 ms", unit=" ms", lower_is_better=True),
        ),
        prepare=_prepare,
        rounds=5,
    )
]
