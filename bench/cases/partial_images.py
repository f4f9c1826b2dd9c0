"""C18: the throughput with partial images.

The engine is the model that comes along, on the processor. A makes pictures without partial images. B makes the same
ones with three partial images each, which are rendered, encoded, sealed and published to Redis meanwhile. Everything
shares the processor, so the throughput is the number of pictures for a second of its time.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import redis
from django.test import override_settings

from bench import subprocesses
from bench.benchmark import Benchmark, Figure, Round, Samples, measure_cost
from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, load_engine
from workers.gpu_worker.previews import PreviewPublisher
from workers.messaging import partial_images, redis_client
from workers.messaging.partial_images import MAX_PARTIAL_IMAGES
from workers.models import Generation
from zekron_api.local.run import free_port

SIDE: Final = 1024
PICTURES: Final = 2


@contextmanager
def _prepare() -> Iterator[Round]:
    engine = load_engine(model=catalogue()[DEFAULT_MODEL], device="cpu")
    batcher, publisher, port = Batcher(engine), PreviewPublisher(), free_port()
    publisher.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            command = subprocesses.build_redis_command(port=port, folder=Path(name))
            with (
                subprocesses.run("redis", command, folder=Path(name)),
                override_settings(REDIS_URL=f"redis://127.0.0.1:{port}/0"),
            ):
                _wait_for_redis()
                # The first pictures of each kind take longer.
                _make(batcher, publisher, preview_count=0)
                _make(batcher, publisher, preview_count=MAX_PARTIAL_IMAGES)
                kept = partial_images.read(account_id=1, generation_id=PICTURES, index=0)
                assert kept is not None, "no partial image was published"
                yield partial(_measure, batcher, publisher)
    finally:
        batcher.close()
        publisher.close()


def _wait_for_redis() -> None:
    give_up_at = time.monotonic() + subprocesses.START_SECONDS
    while time.monotonic() < give_up_at:
        with suppress(redis.ConnectionError):
            redis_client.connection().ping()
            return
        time.sleep(0.1)
    raise subprocesses.NotUp("redis does not answer")


def _measure(batcher: Batcher, publisher: PreviewPublisher, b_first: bool) -> Samples:
    seconds = {}
    for count in (MAX_PARTIAL_IMAGES, 0) if b_first else (0, MAX_PARTIAL_IMAGES):
        seconds[count] = measure_cost(partial(_make, batcher, publisher, preview_count=count))
    without, with_partials = seconds[0], seconds[MAX_PARTIAL_IMAGES]
    return {
        "ratio": without / with_partials,
        "without": 1000 * without / PICTURES,
        "with": 1000 * with_partials / PICTURES,
    }


def _make(batcher: Batcher, publisher: PreviewPublisher, *, preview_count: int) -> None:
    """Make the pictures one after the other."""
    for seed in range(PICTURES):
        order = ImageOrder(prompt="a red boat on the sea at sunset", width=SIDE, height=SIDE, seed=seed)
        if not preview_count:
            batcher.submit(order).result()
            continue
        generation = Generation(pk=seed + 1, account_id=1)
        with publisher.follow(generation) as on_preview:
            batcher.submit(replace(order, preview_count=preview_count, on_preview=on_preview)).result()


BENCHMARKS: Final = [
    Benchmark(
        code="C18",
        name="partial-images",
        a=f"{PICTURES} pictures of {SIDE}x{SIDE} of the model that comes along, without partial images",
        b=f"the same with {MAX_PARTIAL_IMAGES} partial images each, sealed in Redis",
        clock="CPU",
        figures=(
            Figure(name="ratio", at_least=0.98, aim=1.0),
            Figure(name="with", unit=" ms", lower_is_better=True),
            Figure(name="without", unit=" ms", lower_is_better=True),
        ),
        prepare=_prepare,
    )
]
