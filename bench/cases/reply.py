"""C3: the body of a reply that holds 2 MB of base64.

A does as a view of the Django REST framework does: `base64.b64encode(…).decode()` into a dict, and JSONRenderer. B is
`zekron_api.endpoints.response_bodies.generation_body`, from the same row. Both results must be the same JSON.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import numpy as np
from rest_framework.renderers import JSONRenderer

from bench.benchmark import Benchmark, Figure, Round, compare_in_turn
from billing.models import Account
from storage.models import StoredImage
from workers.models import Generation, Kind, Status
from zekron_api.endpoints import response_bodies

# 2 MB as base64.
IMAGE_BYTE_COUNT: Final = 1_500_000


def render_with_framework(generation: Generation, content: bytes, account: Account) -> bytes:
    """Return the reply with the image as a string in it, rendered by the framework."""
    reply = response_bodies.generation_reply(generation, b"", account)
    reply["data"]["image"]["b64_json"] = base64.b64encode(content).decode()
    rendered: bytes = JSONRenderer().render(reply)
    return rendered


@contextmanager
def _prepare() -> Iterator[Round]:
    content = np.random.default_rng(1).bytes(IMAGE_BYTE_COUNT)
    generation, account = _build_generation(), Account(balance_micros=9_973_300)
    usual, ours = (
        render_with_framework(generation, content, account),
        response_bodies.generation_body(generation, content, account),
    )
    assert json.loads(usual) == json.loads(ours)
    yield compare_in_turn(
        lambda: render_with_framework(generation, content, account),
        lambda: response_bodies.generation_body(generation, content, account),
        times_a=20,
        times_b=500,
    )


def _build_generation() -> Generation:
    noon = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    return Generation(
        pk=42,
        kind=Kind.CREATE,
        model="zekron-image-1",
        prompt="A serene mountain landscape at golden hour",
        parameters={"width": 1024, "height": 1024, "seed": 1},
        quote_micros=26_700,
        cost_micros=26_700,
        status=Status.COMPLETED,
        image=StoredImage(mime_type="image/png"),
        created_at=noon,
        expires_at=noon,
    )


BENCHMARKS: Final = (
    Benchmark(
        code="C3",
        name="reply",
        a="a reply with 2 MB of base64 by the framework's JSONRenderer and the standard library",
        b="the same by zekron_api.endpoints.response_bodies",
        clock="CPU",
        figures=(Figure(name="ratio", at_least=30, aim=60),),
        prepare=_prepare,
    ),
)
