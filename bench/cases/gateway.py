"""C5: what one image costs the processors of those who stand between a client and a device.

A is LiteLLM's proxy with one process before a backend whose own cost is not counted, asked for an image by URL and for
2 MB of base64. B is this service with a device that takes no time. Of B everything counts: the web process, the worker,
which encodes and seals the PNG, PostgreSQL with those of its processes that have ended, and Redis. Both get the same
clients.

A does less: it has no money, no queue that outlives a process, no image of its own, whole or sealed, no history, no
retry that is not paid twice, no rate an account; its backend makes the PNG. It does what B does not: it speaks to many
providers. By URL, B sends its image as base64 besides: a flat one of 512², 14 KB.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import processor_time, service
from bench.baselines import litellm_proxy
from bench.baselines.litellm_proxy import Proxy
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.clients import Ask, ask_all
from bench.service import Service

CLIENTS = 8
MILLISECONDS = 1000


class Form(NamedTuple):
    """In which form the image comes: how many a round, what our service is asked, and how long a reply is at least."""

    requests: int
    prompt: str
    size: str
    least_bytes: int


FORMS = {
    "url": Form(requests=200, prompt="flat", size="512x512", least_bytes=0),
    # The PNG of this picture has 1.6 MB.
    "base64": Form(requests=60, prompt="photo", size="1024x1024", least_bytes=2_000_000),
}


@contextmanager
def _ready() -> Iterator[Round]:
    if not processor_time.PROC.is_dir():
        raise Skipped("what other processes cost is read from /proc, which this system lacks")
    with (
        tempfile.TemporaryDirectory(prefix="zekron-bench-") as name,
        litellm_proxy.running(Path(name)) as proxy,
        service.running() as ours,
    ):
        yield partial(_measure, proxy, ours)


def _measure(proxy: Proxy, ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name, form in FORMS.items():
        for b in (True, False) if b_first else (False, True):
            samples |= _of_ours(ours, name, form) if b else {f"A {name}": _of_proxy(proxy, name, form)}
        samples[f"ratio, {name}"] = samples[f"A {name}"] / samples[f"B {name}"]
    return samples


def _of_proxy(proxy: Proxy, name: str, form: Form) -> float:
    family = processor_time.family_of(proxy.process.pid)
    before = processor_time.seconds_of(family)
    body = {"model": name, "prompt": form.prompt, "size": "1024x1024"}
    asks = [Ask("/v1/images/generations", proxy.key, body)] * form.requests
    ask_all(proxy.port, asks, at_once=CLIENTS, least_bytes=form.least_bytes)
    spent = processor_time.between(before, processor_time.seconds_of(family))
    return MILLISECONDS * spent / form.requests


def _of_ours(ours: Service, name: str, form: Form) -> dict[str, float]:
    body = {"prompt": form.prompt, "size": form.size}
    # As many accounts as clients at least, so that none has too many open.
    keys = ours.keys(max(form.requests, CLIENTS * service.REQUESTS_AN_ACCOUNT))
    asks = [Ask("/v1/generate", keys[number % len(keys)], body) for number in range(form.requests)]
    before = ours.processor_seconds()
    ask_all(ours.port, asks, at_once=CLIENTS, least_bytes=form.least_bytes)
    after = ours.processor_seconds()
    parts = {
        part: MILLISECONDS * processor_time.between(before[part], after[part]) / form.requests
        for part in after
    }
    return {f"B {name}": sum(parts.values()), **{f"{part}, {name}": spent for part, spent in parts.items()}}


def _figures(name: str, *, at_least: float, aim: float) -> Iterator[Figure]:
    yield Figure(name=f"ratio, {name}", at_least=at_least, aim=aim)
    for side in (f"A {name}", f"B {name}", *(f"{part}, {name}" for part in PARTS)):
        yield Figure(name=side, unit=" ms")


PARTS = ("web", "worker", "postgres", "redis")

BENCHMARKS = (
    Benchmark(
        code="C5",
        name="gateway",
        a="LiteLLM's proxy before a backend that is not counted: no money, queue, image, history or retry of its own",
        b="the whole service around a device that takes no time: web, worker, PostgreSQL and Redis",
        clock="CPU",
        figures=(*_figures("url", at_least=5, aim=8), *_figures("base64", at_least=15, aim=40)),
        ready=_ready,
        needs_database=True,
        large=True,
    ),
)
