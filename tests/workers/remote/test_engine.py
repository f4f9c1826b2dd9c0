"""The engine of a remote server: orders of a batch end apart, are cancelled apart, and find a server that is lost."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.workers.remote import scripted_server
from tests.workers.remote.calls import ORDER, make, outcomes_of
from tests.workers.remote.scripted_server import Asked, Reply, ScriptedServer, picture, refusal
from workers.catalogue import ImageModel
from workers.engine.interface import (
    DeviceLost,
    EngineError,
    OrderDropped,
    load_engine,
)
from workers.moderation import ContentRefused
from workers.remote.engine import RemoteEngine

Describe = Callable[..., ImageModel]


def test_an_order_that_fails_does_not_fail_its_neighbours(
    server: ScriptedServer, engine: RemoteEngine
) -> None:
    def answer(asked: Asked) -> Reply:
        return refusal(400, code="moderation_blocked") if asked.json["seed"] == 1 else picture()

    server.answer = answer
    first, second, third = outcomes_of(engine, *(replace(ORDER, seed=seed) for seed in range(3)))
    assert isinstance(second, ContentRefused)
    assert first.shape == third.shape == (64, 64, 3)
    assert sorted(asked.json["seed"] for asked in server.asked) == [0, 1, 2]


def test_the_requests_of_a_batch_are_under_way_at_once(server: ScriptedServer, engine: RemoteEngine) -> None:
    together = threading.Barrier(4, timeout=scripted_server.LONG_SECONDS)

    def answer(_: Asked) -> Reply:
        together.wait()
        return picture()

    server.answer = answer
    assert len(make(engine, *[ORDER] * engine.batch_limit)) == 4
    assert len({engine.batch_key(each) for each in (ORDER, replace(ORDER, width=128))}) == 1


def test_the_connection_of_a_cancelled_order_is_closed_and_the_others_go_on(
    server: ScriptedServer, engine: RemoteEngine
) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(hangs=True) if asked.json["seed"] == 1 else picture()

    server.answer = answer
    # It is cancelled as soon as both are with the server.
    cancelled = replace(ORDER, seed=1, is_unwanted=lambda: len(server.asked) == 2)
    dropped, made = outcomes_of(engine, cancelled, ORDER)
    assert isinstance(dropped, OrderDropped)
    assert made.shape == (64, 64, 3)
    assert server.closed.acquire(timeout=scripted_server.LONG_SECONDS)


def test_when_nobody_wants_a_picture_any_more_every_connection_is_closed(
    server: ScriptedServer, engine: RemoteEngine
) -> None:
    server.reply_in_turn(Reply(hangs=True))

    def on_step(_done: int, _steps: int) -> None:
        if len(server.asked) == 2:
            raise OrderDropped

    with pytest.raises(OrderDropped):
        make(engine, ORDER, ORDER, on_step=on_step)
    for _ in range(2):
        assert server.closed.acquire(timeout=scripted_server.LONG_SECONDS)


def test_a_server_that_nobody_reaches_is_a_lost_device(describe: Describe, engine: RemoteEngine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = RemoteEngine(replace(engine._remote, base_url=f"http://127.0.0.1:{port}/v1"))
    with pytest.raises(DeviceLost, match="cannot be reached"):
        make(away, ORDER, ORDER)
    with pytest.raises(EngineError, match="is away: ConnectError"):
        load_engine(model=describe(base_url=f"http://127.0.0.1:{port}/v1"), device="auto")
