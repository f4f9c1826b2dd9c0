"""G6: many jobs through all that a worker does with them but the database: batcher, line, PNG, seal, and a file.

A is one thing after the other, with Pillow's PNG and Django's store of files; B is the worker's own, in its threads.
The rows are left out, so that a machine with a GPU needs no PostgreSQL; C7 measures what they cost.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.context import Context
from storage import envelope
from storage.file_store import FileStore
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture
from workers.imaging import png

# As many attempts as the Procfile's `gpu` has at once.
THREADS = 8
# What one after the other is measured by: it is the slower side, and each of its pictures takes as long as the last.
SERIAL_JOBS = 8
CONTENT_KEY = bytes(range(envelope.CONTENT_KEY_BYTE_COUNT))


def benchmarks(scene: Context) -> list[Benchmark]:
    """One of each size."""
    return [
        Benchmark(
            code="G6",
            name=f"jobs-{name}",
            a=f"creates of {side}², one after the other: Flux2KleinPipeline, Pillow's PNG, seal, write",
            b=f"{scene.scale.jobs} of them through our batcher, our PNG, seal, write in {THREADS} threads",
            clock="wall",
            figures=(
                Figure(name="ratio", at_least=2.5, aim=3.3),
                Figure(name="device busy", at_least=0.97, aim=0.99, unit=""),
                Figure(name="images a second", unit="/s"),
            ),
            ready=partial(_ready, scene, side),
            rounds=2,
        )
        for name, side in (("large", scene.scale.large), ("little", scene.scale.little))
    ]


@contextmanager
def _ready(scene: Context, side: int) -> Iterator[Round]:
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = FileSystemStorage(f"{folder}/plain"), FileStore(f"{folder}/ours")
        names = count()

        def serially(order: ImageOrder) -> None:
            file = io.BytesIO()
            scene.stock.make([order])[0].save(file, "PNG")
            plain.save(str(next(names)), ContentFile(_sealed(file.getvalue())))

        def tail(picture: Picture) -> None:
            ours.save(str(next(names)), ContentFile(sealed_png(picture)))

        def measure(b_first: bool) -> Samples:
            samples: dict[str, float] = {}
            for name in "BA" if b_first else "AB":
                if name == "A":
                    orders = scene.orders(side, how_many=min(SERIAL_JOBS, scene.scale.jobs))
                    samples["A"] = scene.machine.seconds(partial(_each, serially, orders)) / len(orders)
                else:
                    samples |= _by_batcher(scene, side, tail)
            return {**samples, "ratio": samples["A"] / samples["B"]}

        yield measure


def _by_batcher(scene: Context, side: int, tail: Callable[[Picture], None]) -> dict[str, float]:
    orders, engine = scene.orders(side, how_many=scene.scale.jobs), scene.ours.engine
    batcher = Batcher(engine)

    def attempt(order: ImageOrder) -> None:
        tail(batcher.submit(order).result())

    try:
        before = engine.busy_seconds
        with ThreadPoolExecutor(THREADS) as pool:
            seconds = scene.machine.seconds(lambda: list(pool.map(attempt, orders)))
        busy = engine.busy_seconds - before
    finally:
        batcher.close()
    return {
        "B": seconds / len(orders),
        "device busy": busy / seconds,
        "images a second": len(orders) / seconds,
    }


def _each(work: Callable[[ImageOrder], None], orders: list[ImageOrder]) -> None:
    for order in orders:
        work(order)


def _sealed(content: bytes) -> bytes:
    return envelope.seal(
        content=content,
        content_key=CONTENT_KEY,
        master_key_id="bench",
        associated_data="bench",
        mime_type="image/png",
    )


def sealed_png(picture: Picture) -> bytes:
    """What the tail of a job makes of a picture."""
    return _sealed(png.encode(picture))
