"""Calls of a remote engine: an order, and the stages that bring it to its picture."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.workers.remote.scripted_server import ScriptedServer
from workers.catalogue import ImageModel
from workers.engine.interface import (
    ImageOrder,
    Picture,
    SomeOrdersFailed,
    load_engine,
)
from workers.remote.engine import RemoteEngine

ORDER = ImageOrder(prompt="a secret prompt", width=64, height=64, seed=7)


def make_engine(server: ScriptedServer, model: ImageModel) -> RemoteEngine:
    engine: Any = load_engine(model=model, device="auto")
    [asked] = server.asked
    assert (asked.method, asked.path) == ("GET", "/v1/models")
    server.asked.clear()
    return engine


def make(
    engine: RemoteEngine, *orders: ImageOrder, on_step: Any = lambda _done, _steps: None
) -> list[Picture]:
    return engine.decode(engine.denoise(engine.prepare(orders or [ORDER]), on_step=on_step))


def outcomes_of(engine: RemoteEngine, *orders: ImageOrder) -> Sequence[Any]:
    with pytest.raises(SomeOrdersFailed) as failed:
        make(engine, *orders)
    return failed.value.outcomes
