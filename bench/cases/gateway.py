"""C5: the processor time of one image between a client and a device.

A is LiteLLM's proxy with one process, before a backend whose own cost is not counted. It is asked for an image by
URL, and for 2 MB of base64. B is this service with a device that takes no time. For B everything counts: the web
process, the worker, which encodes and seals the PNG, PostgreSQL with its ended processes, and Redis. Both have the
same clients.

A does less. It has no money, no durable queue, no image of its own, no history, no idempotent retry and no rate limit
for each account; its backend makes the PNG. It also does more, because it speaks to many providers. Where A sends a
URL, B sends its image as base64: a flat one of 512², 14 KB.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench import processor_time, service
from bench.baselines import litellm_proxy
from bench.baselines.litellm_proxy import Proxy
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.clients import Ask, send_all
from bench.service import Service

CLIENTS: Final = 8
MILLISECONDS: Final = 1000


class ReplyForm(NamedTuple):
    """A form of the image: requests in a round, our service's prompt and size, and a reply's least length."""

    requests: int
    prompt: str
    size: str
    min_bytes: int


REPLY_FORMS: Final = {
    "url": ReplyForm(requests=200, prompt="flat", size="512x512", min_bytes=0),
    # The PNG of this picture is 1.6 MB.
    "base64": ReplyForm(requests=60, prompt="photo", size="1024x1024", min_bytes=2_000_000),
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
            samples |= (
                _measure_service(ours, name, form) if b else {f"A {name}": _measure_proxy(proxy, name, form)}
            )
        samples[f"ratio, {name}"] = samples[f"A {name}"] / samples[f"B {name}"]
    return samples


def _measure_proxy(proxy: Proxy, name: str, form: ReplyForm) -> float:
    descendants = processor_time.find_descendants(proxy.process.pid)
    before = processor_time.read_seconds(descendants)
    body = {"model": name, "prompt": form.prompt, "size": "1024x1024"}
    asks = [Ask("/v1/images/generations", proxy.key, body)] * form.requests
    send_all(proxy.port, asks, at_once=CLIENTS, min_bytes=form.min_bytes)
    spent = processor_time.sum_between(before, processor_time.read_seconds(descendants))
    return MILLISECONDS * spent / form.requests


def _measure_service(ours: Service, name: str, form: ReplyForm) -> dict[str, float]:
    body = {"prompt": form.prompt, "size": form.size}
    # There are at least as many accounts as clients, so that none has too many open generations.
    keys = ours.issue_keys(max(form.requests, CLIENTS * service.REQUESTS_AN_ACCOUNT))
    asks = [Ask("/v1/generate", keys[number % len(keys)], body) for number in range(form.requests)]
    before = ours.read_processor_seconds()
    send_all(ours.port, asks, at_once=CLIENTS, min_bytes=form.min_bytes)
    after = ours.read_processor_seconds()
    parts = {
        part: MILLISECONDS * processor_time.sum_between(before[part], after[part]) / form.requests
        for part in after
    }
    return {f"B {name}": sum(parts.values()), **{f"{part}, {name}": spent for part, spent in parts.items()}}


def _list_figures(name: str, *, at_least: float, aim: float) -> Iterator[Figure]:
    yield Figure(name=f"ratio, {name}", at_least=at_least, aim=aim)
    for side in (f"A {name}", f"B {name}", *(f"{part}, {name}" for part in PARTS)):
        yield Figure(name=side, unit=" ms")


PARTS: Final = ("web", "worker", "postgres", "redis")

BENCHMARKS: Final = (
    Benchmark(
        code="C5",
        name="gateway",
        a="LiteLLM's proxy before a backend that is not counted: no money, queue, image, history or retry of its own",
        b="the whole service around a device that takes no time: web, worker, PostgreSQL and Redis",
        clock="CPU",
        figures=(*_list_figures("url", at_least=5, aim=8), *_list_figures("base64", at_least=15, aim=40)),
        prepare=_prepare,
        needs_database=True,
        large=True,
    ),
)
