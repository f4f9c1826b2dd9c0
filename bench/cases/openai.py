"""C20: OpenAI's API beside the service's own: the processor time of the same image by either path.

Both go to the same processes around a device that takes no time. A reply of OpenAI's path has the same bytes of the
image, the address, and the numbers of tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from bench import processor_time, service, service_cost
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.service import Service
from bench.service_cost import Creates

PATH: Final = "/v1/images/generations"
CREATES: Final = {
    "512² flat": Creates(requests=200, prompt="flat", size="512x512", min_bytes=10_000),
    "1024² photo": Creates(requests=60, prompt="photo", size="1024x1024", min_bytes=2_000_000),
}


@contextmanager
def _prepare() -> Iterator[Round]:
    if not processor_time.PROC.is_dir():
        raise Skipped("the processor time of other processes is read from /proc, which this system lacks")
    with service.run() as ours:
        yield partial(_measure, ours)


def _measure(ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name, creates in CREATES.items():
        for side in "BA" if b_first else "AB":
            asked = creates._replace(path=PATH) if side == "B" else creates
            samples |= service_cost.label_parts(side, name, service_cost.measure_parts(ours, asked))
        for part in ("", " web"):
            ratio = samples[f"B{part}, {name}"] / samples[f"A{part}, {name}"]
            samples[f"{part.strip() or 'all'}, {name}"] = ratio
    return samples


def _list_figures(name: str) -> Iterator[Figure]:
    yield Figure(name=f"all, {name}", at_least=1.1, aim=1.05, lower_is_better=True)
    yield Figure(name=f"web, {name}", lower_is_better=True)
    for side in "AB":
        yield from service_cost.list_figures(side, name, parts=("web",))


BENCHMARKS: Final = (
    Benchmark(
        code="C20",
        name="openai",
        a="POST /v1/generate of the whole service around a device that takes no time",
        b="POST /v1/images/generations of the same processes",
        clock="CPU",
        figures=tuple(figure for name in CREATES for figure in _list_figures(name)),
        prepare=_prepare,
        needs_database=True,
    ),
)
