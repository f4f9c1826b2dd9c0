"""C12: images a second of the whole service with the small pipeline on this processor, with several clients.

A is a minimal FastAPI server around the same pipeline of diffusers, as a tutorial has it: one process, one lock,
Pillow's PNG. It has no keys, prices, rate limits, queue, store, history or retries, and its accepted requests die
with it. B is web, worker, PostgreSQL, Redis and the store. No prompt comes twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from django.conf import settings

from bench import service
from bench.baselines import fastapi_processes
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, send_all
from bench.models_file import PRICE
from bench.service import Service

CLIENTS: Final = 4
IMAGES: Final = 24
SIZE: Final = "512x512"

# The other server calls its pipeline with the same values.
MODELS: Final = """
[zekron-image-1]
adapter = "flux2-klein"
weights = "{weights}"
licence = "Apache-2.0"
steps = 4
dtype = "float32"
batch_limit = 4
[zekron-image-1.options]
max_sequence_length = 256
text_encoder_out_layers = [1, 2, 3]
"""

_prompts = count(1)


@contextmanager
def _prepare() -> Iterator[Round]:
    weights = _make_small_pipeline()
    with (
        fastapi_processes.run("serve_small_pipeline", {"BASELINE_WEIGHTS": str(weights)}) as port,
        service.run(models=MODELS.format(weights=weights) + PRICE) as ours,
    ):
        yield partial(_measure, port, ours)


def _make_small_pipeline() -> Path:
    # Imported here, because torch takes seconds.
    from workers.pipelines.tiny import build  # noqa: PLC0415

    folder = settings.VAR_DIR / "bench" / "small"
    build.make(folder)
    return Path(folder)


def _measure(port: int, ours: Service, b_first: bool) -> Samples:
    keys = ours.issue_keys(CLIENTS * service.REQUESTS_AN_ACCOUNT)
    seconds = {}
    for side in "BA" if b_first else "AB":
        bodies = [{"prompt": f"boat {next(_prompts)}", "size": SIZE} for _ in range(IMAGES)]
        if side == "A":
            asks = [Ask("/generate", "", body) for body in bodies]
        else:
            asks = [Ask("/v1/generate", keys[index % CLIENTS], body) for index, body in enumerate(bodies)]
        seconds[side] = send_all(port if side == "A" else ours.port, asks, at_once=CLIENTS) / IMAGES
    return {**seconds, "images a second beside A": seconds["A"] / seconds["B"]}


BENCHMARKS: Final = (
    Benchmark(
        code="C12",
        name="whole-stack",
        a=f"a FastAPI server around the small pipeline on the processor, {CLIENTS} clients at once: no keys, prices,"
        " queue, store, history or second attempts",
        b="the whole service around the same pipeline",
        clock="wall",
        figures=(Figure(name="images a second beside A", at_least=0.95, aim=1.0),),
        prepare=_prepare,
        needs_database=True,
    ),
)
