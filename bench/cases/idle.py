"""C16: the time that everything around the pipeline adds to a request, while nothing else is asked.

A is a FastAPI server around a pipeline that takes no time, with this project's PNG encoder: no key, price, queue,
store or history. B is this service around a device that takes no time. One client sends its requests one after the
other on one connection, and each reply has the image as base64. So the whole time of a request is added time, which
also includes the client's own reading of the reply.

The goal is to add no more than A. A machine's milliseconds are no goal. On two shared cores of 2026, 25 ms for the
little flat image and 55 ms for the large photo are good ones.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from bench import service
from bench.baselines import fastapi_processes
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, time_each
from bench.service import Service
from bench.service_cost import MILLISECONDS, Creates

CREATES: Final = {
    "512² flat": Creates(requests=100, prompt="flat", size="512x512", min_bytes=10_000),
    "1024² photo": Creates(requests=100, prompt="photo", size="1024x1024", min_bytes=2_000_000),
}


@contextmanager
def _prepare() -> Iterator[Round]:
    with fastapi_processes.run("serve_no_pipeline") as port, service.run() as ours:
        yield partial(_measure, port, ours)


def _measure(port: int, ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name, creates in CREATES.items():
        for side in "BA" if b_first else "AB":
            seconds = time_each(port if side == "A" else ours.port, _build_asks(side, ours, creates))
            samples |= _summarise(f"{side}, {name}", seconds)
        samples[f"{name}, beside FastAPI"] = samples[f"B, {name}, median"] / samples[f"A, {name}, median"]
    return samples


def _build_asks(side: str, ours: Service, creates: Creates) -> list[Ask]:
    body = {"prompt": creates.prompt, "size": creates.size}
    if side == "A":
        return [Ask("/generate", "", body)] * creates.requests
    keys = ours.issue_keys(creates.requests)
    return [Ask("/v1/generate", keys[number % len(keys)], body) for number in range(creates.requests)]


def _summarise(label: str, seconds: Sequence[float]) -> dict[str, float]:
    return {
        f"{label}, median": MILLISECONDS * statistics.median(seconds),
        f"{label}, 99 %": MILLISECONDS * statistics.quantiles(seconds, n=100)[98],
    }


BENCHMARKS: Final = (
    Benchmark(
        code="C16",
        name="idle",
        a="a FastAPI server around a pipeline that takes no time, with the same PNG encoder, one request at a time",
        b="the whole service around a device that takes no time, one request at a time",
        clock="wall",
        figures=(
            *(Figure(name=f"{name}, beside FastAPI", aim=1.0, lower_is_better=True) for name in CREATES),
            *(
                Figure(name=f"{side}, {name}, {which}", unit=" ms")
                for name in CREATES
                for side in "AB"
                for which in ("median", "99 %")
            ),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
