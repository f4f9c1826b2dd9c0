"""C5: the processor time of one image in the whole service, around a device that takes no time.

A is the usual service of `bench.baselines.usual_service`: the same API on Django, the REST framework and Celery with
their usual parts, which are `select_for_update` in two transactions, `apply_async` and a wait for its result, Pillow's
PNG, Fernet, a file, and base64 of the standard library. B is this service. Everything counts on both sides: the web
process, the worker, PostgreSQL with its ended processes, and Redis. Both have the same clients, the same server of
PostgreSQL and the same pictures.

Before the first round, both must give the same replies: the published fields with the same types, the same price, and
a PNG with the pixels of the device.

A does less. It has no edits and no retries by Idempotency-Key, its objects are not synced to the disk, and the work of
a process that dies is lost with its hold. Each of its waiting clients takes a thread.
"""

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
from PIL import Image

from bench import pictures, processor_time, service, service_cost
from bench.baselines import usual_processes
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.service_cost import Creates, PaidService

CREATES: Final = {
    "512² flat": Creates(requests=80, prompt="flat", size="512x512", min_bytes=10_000),
    # The PNG of this picture is 1.6 MB. Pillow needs a third of a second for it.
    "1024² photo": Creates(requests=16, prompt="photo", size="1024x1024", min_bytes=2_000_000),
}


@contextmanager
def _prepare() -> Iterator[Round]:
    if not processor_time.PROC.is_dir():
        raise Skipped("the processor time of other processes is read from /proc, which this system lacks")
    with usual_processes.run() as usual, service.run() as ours:
        for creates in CREATES.values():
            check_replies(usual, ours, creates)
        yield partial(_measure, usual, ours)


def _measure(usual: PaidService, ours: PaidService, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name, creates in CREATES.items():
        for side in "BA" if b_first else "AB":
            parts = service_cost.measure_parts(usual if side == "A" else ours, creates)
            samples |= service_cost.label_parts(side, name, parts)
        samples[f"ratio, {name}"] = samples[f"A, {name}"] / samples[f"B, {name}"]
    return samples


def check_replies(usual: PaidService, ours: PaidService, creates: Creates) -> None:
    """Raise AssertionError unless both services answer all requests of the API alike."""
    for of_usual, of_ours in zip(
        _collect_replies(usual, creates), _collect_replies(ours, creates), strict=True
    ):
        assert has_fields(of_ours, of_usual), f"the services answer differently: {of_usual} and {of_ours}"


def has_fields(reply: Any, other: Any) -> bool:
    """Return True if the reply has all fields of the other one, with values of the same types."""
    if isinstance(reply, dict) and isinstance(other, dict):
        return all(name in reply and has_fields(reply[name], other[name]) for name in other)
    if isinstance(reply, list) and isinstance(other, list):
        return len(reply) == len(other) and all(map(has_fields, reply, other))
    return type(reply) is type(other)


def _collect_replies(one: PaidService, creates: Creates) -> list[Any]:
    """Return the replies to all requests of the API, and the price as an amount. Check the image."""
    (key,) = one.issue_keys(1)
    created = json.loads(_ask(one, key, "/v1/generate", {"prompt": creates.prompt, "size": creates.size}))
    image, cost = created["data"].pop("image"), created["data"]["cost"]
    content = base64.b64decode(image.pop("b64_json"))
    _check_pixels(content, creates)
    assert _ask(one, key, f"/v1/images/{created['data']['token']}") == content
    others = [json.loads(_ask(one, key, f"/v1/{path}")) for path in ("balance", "generations")]
    return [created, image, {cost: cost}, *others]


def _check_pixels(content: bytes, creates: Creates) -> None:
    side = int(creates.size.partition("x")[0])
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(pictures.KINDS[creates.prompt](side)))


def _ask(one: PaidService, key: str, path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{one.port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310 (processes of the benchmark)
        content: bytes = reply.read()
    return content


BENCHMARKS: Final = (
    Benchmark(
        code="C5",
        name="whole-path",
        a="the usual service: Django, its REST framework, select_for_update, Celery's results, Pillow, Fernet, a file",
        b="this service around the same device that takes no time: web, worker, PostgreSQL and Redis",
        clock="CPU",
        figures=(
            Figure(name="ratio, 512² flat", at_least=2, aim=2.5),
            Figure(name="ratio, 1024² photo", at_least=5, aim=7),
            *(
                figure
                for name in CREATES
                for side in "AB"
                for figure in service_cost.list_figures(side, name)
            ),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
