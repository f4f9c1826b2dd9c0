"""G6: many jobs through a worker's batcher, stage executor, PNG, seal and file, without the database.

A does one thing after the other, with Pillow's PNG and Django's store of files. B is the worker's own code, in its
threads. The rows are left out, so that a machine with a GPU needs no PostgreSQL; C7 measures their cost.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.context import Context
from storage import envelope
from storage.file_store import FileStore
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture
from workers.imaging import png

# The Procfile's `gpu` has this many attempts at once.
THREADS: Final = 8
# A measures fewer jobs. It is slower, and each of its pictures takes equally long.
SERIAL_JOBS: Final = 8
CONTENT_KEY: Final = bytes(range(envelope.CONTENT_KEY_BYTE_COUNT))


def list_benchmarks(context: Context) -> list[Benchmark]:
    """Return a benchmark for each size."""
    return [
        Benchmark(
            code="G6",
            name=f"jobs-{name}",
            a=f"creates of {side}², one after the other: Flux2KleinPipeline, Pillow's PNG, seal, write",
            b=f"{context.scale.jobs} of them through our batcher, our PNG, seal, write in {THREADS} threads",
            clock="wall",
            figures=(
                Figure(name="ratio", at_least=2.5, aim=3.3),
                Figure(name="device busy", at_least=0.97, aim=0.99, unit=""),
                Figure(name="images a second", unit="/s"),
            ),
            prepare=partial(_prepare, context, side),
            rounds=2,
        )
        for name, side in (("large", context.scale.large), ("little", context.scale.little))
    ]


@contextmanager
def _prepare(context: Context, side: int) -> Iterator[Round]:
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = FileSystemStorage(f"{folder}/plain"), FileStore(f"{folder}/ours")
        names = count()

        def make_serially(order: ImageOrder) -> None:
            file = io.BytesIO()
            context.stock.make([order])[0].save(file, "PNG")
            plain.save(str(next(names)), ContentFile(_seal(file.getvalue())))

        def tail(picture: Picture) -> None:
            ours.save(str(next(names)), ContentFile(seal_png(picture)))

        def measure(b_first: bool) -> Samples:
            samples: dict[str, float] = {}
            for name in "BA" if b_first else "AB":
                if name == "A":
                    orders = context.orders(side, how_many=min(SERIAL_JOBS, context.scale.jobs))
                    samples["A"] = context.machine.measure_seconds(
                        partial(_do_each, make_serially, orders)
                    ) / len(orders)
                else:
                    samples |= _measure_batcher(context, side, tail)
            return {**samples, "ratio": samples["A"] / samples["B"]}

        yield measure


def _measure_batcher(context: Context, side: int, tail: Callable[[Picture], None]) -> dict[str, float]:
    orders, engine = context.orders(side, how_many=context.scale.jobs), context.ours.engine
    batcher = Batcher(engine)

    def attempt(order: ImageOrder) -> None:
        tail(batcher.submit(order).result())

    try:
        before = engine.busy_seconds
        with ThreadPoolExecutor(THREADS) as pool:
            seconds = context.machine.measure_seconds(lambda: list(pool.map(attempt, orders)))
        busy = engine.busy_seconds - before
    finally:
        batcher.close()
    return {
        "B": seconds / len(orders),
        "device busy": busy / seconds,
        "images a second": len(orders) / seconds,
    }


def _do_each(work: Callable[[ImageOrder], None], orders: list[ImageOrder]) -> None:
    for order in orders:
        work(order)


def _seal(content: bytes) -> bytes:
    return envelope.seal(
        content=content,
        content_key=CONTENT_KEY,
        master_key_id="bench",
        associated_data="bench",
        mime_type="image/png",
    )


def seal_png(picture: Picture) -> bytes:
    """Return the sealed PNG of a picture, as the last part of a job makes it."""
    return _seal(png.encode(picture))
