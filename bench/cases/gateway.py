"""C5c: a gateway beside C5, as context and not as a goal.

A is LiteLLM's proxy with one process, before a backend whose own cost is not counted. It is asked for an image by
URL, and for 2 MB of base64. B is this service with a device that takes no time, counted as in C5. Both have the same
clients.

A does less. It has no money, no durable queue, no image of its own, no history, no idempotent retry and no rate limit
for each account; its backend makes the PNG. It also does more, because it speaks to many providers. Where A sends a
URL, B sends its image as base64: a flat one of 512², 14 KB. Hence no figure here is a goal.

AI-Horde's server, which has a queue and a kind of money, would be the nearer gateway. It is not on the package index,
so it is not compared here.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench import processor_time, service, service_cost
from bench.baselines import litellm_proxy
from bench.baselines.litellm_proxy import Proxy
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.clients import Ask, send_all
from bench.service import Service
from bench.service_cost import CLIENTS, MILLISECONDS, Creates

# Our service's requests for each form of the image that the proxy is asked for.
REPLY_FORMS: Final = {
    "url": Creates(requests=200, prompt="flat", size="512x512", min_bytes=0),
    # The PNG of this picture is 1.6 MB.
    "base64": Creates(requests=60, prompt="photo", size="1024x1024", min_bytes=2_000_000),
}


@contextmanager
def _prepare() -> Iterator[Round]:
    if not processor_time.PROC.is_dir():
        raise Skipped("the processor time of other processes is read from /proc, which this system lacks")
    with (
        tempfile.TemporaryDirectory(prefix="zekron-bench-") as name,
        litellm_proxy.run(Path(name)) as proxy,
        service.run() as ours,
    ):
        yield partial(_measure, proxy, ours)


def _measure(proxy: Proxy, ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name, form in REPLY_FORMS.items():
        for b in (True, False) if b_first else (False, True):
            if b:
                samples |= service_cost.label_parts("B", name, service_cost.measure_parts(ours, form))
            else:
                samples[f"A, {name}"] = _measure_proxy(proxy, name, form)
        samples[f"ratio, {name}"] = samples[f"A, {name}"] / samples[f"B, {name}"]
    return samples


def _measure_proxy(proxy: Proxy, name: str, form: Creates) -> float:
    descendants = processor_time.find_descendants(proxy.process.pid)
    before = processor_time.read_seconds(descendants)
    body = {"model": name, "prompt": form.prompt, "size": "1024x1024"}
    asks = [Ask("/v1/images/generations", proxy.key, body)] * form.requests
    send_all(proxy.port, asks, at_once=CLIENTS, min_bytes=form.min_bytes)
    spent = processor_time.sum_between(before, processor_time.read_seconds(descendants))
    return MILLISECONDS * spent / form.requests


def _list_figures(name: str) -> Iterator[Figure]:
    yield Figure(name=f"ratio, {name}")
    yield from service_cost.list_figures("A", name, parts=())
    yield from service_cost.list_figures("B", name)


BENCHMARKS: Final = (
    Benchmark(
        code="C5c",
        name="gateway",
        a="LiteLLM's proxy before a backend that is not counted: no money, queue, image, history or retry of its own",
        b="the whole service around a device that takes no time: web, worker, PostgreSQL and Redis",
        clock="CPU",
        figures=tuple(figure for name in REPLY_FORMS for figure in _list_figures(name)),
        prepare=_prepare,
        needs_database=True,
        large=True,
        is_context=True,
    ),
)
