"""The engine of a remote server: what it asks, what it takes for a picture, and what each refusal means."""

import io
import logging
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.workers.remote import scripted_server
from tests.workers.remote.scripted_server import Asked, Reply, ScriptedServer, encoded, picture, refusal
from workers.catalogue import ImageModel
from workers.engine.interface import (
    BadOutput,
    DeviceLost,
    EngineError,
    ImageOrder,
    Misconfigured,
    OrderDropped,
    OrderRefused,
    Picture,
    SomeOrdersFailed,
    load_engine,
)
from workers.moderation import ContentRefused
from workers.remote import engine as remote_engine
from workers.remote import replies, requests
from workers.remote.engine import RemoteEngine

Describe = Callable[..., ImageModel]
ORDER = ImageOrder(prompt="a secret prompt", width=64, height=64, seed=7)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let busy servers be asked again, and cancelled orders be seen, without a pause."""
    monkeypatch.setattr(requests, "MIN_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(remote_engine, "LOOK_SECONDS", 0.02)


@pytest.fixture
def engine(server: ScriptedServer, describe: Describe) -> RemoteEngine:
    return make_engine(server, describe())


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


def test_a_create_is_one_request_with_all_that_the_order_says(
    server: ScriptedServer, describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAR_KEY", "the key")
    engine = make_engine(server, describe(api_key="FAR_KEY", fields={"num_inference_steps": 9}))
    [made] = make(engine)
    assert made.shape == (64, 64, 3)
    assert tuple(made[0, 0]) == (0, 128, 128)
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/images/generations")
    assert asked.headers["authorization"] == "Bearer the key"
    assert asked.json == {
        "model": "owner/far",
        "prompt": "a secret prompt",
        "n": 1,
        "size": "64x64",
        "seed": 7,
        "response_format": "b64_json",
        "output_format": "png",
        "num_inference_steps": 9,
    }


def test_without_a_key_none_is_sent_and_an_omitted_seed_is_not_either(
    server: ScriptedServer, describe: Describe
) -> None:
    make(make_engine(server, describe(omit=["seed"])))
    [asked] = server.asked
    assert "authorization" not in asked.headers
    assert "seed" not in asked.json


@pytest.mark.parametrize("colours", [["red"], ["red", "blue"]])
def test_an_edit_is_a_form_with_its_source_images_as_png(
    server: ScriptedServer, engine: RemoteEngine, colours: list[str]
) -> None:
    sources = tuple(Image.new("RGB", (80, 40), colour) for colour in colours)
    make(engine, replace(ORDER, sources=sources))
    [asked] = server.asked
    fields, files = asked.form
    assert asked.path == "/v1/images/edits"
    assert (fields["prompt"], fields["size"], fields["seed"]) == ("a secret prompt", "64x64", "7")
    assert [name for name, _ in files] == ["image" if len(colours) == 1 else "image[]"] * len(colours)
    for (_, file), source in zip(files, sources, strict=True):
        with Image.open(io.BytesIO(file)) as sent:
            assert (sent.format, sent.size) == ("PNG", (80, 40))
            assert sent.getpixel((0, 0)) == source.getpixel((0, 0))


@pytest.mark.parametrize("more", [{"mask": Image.new("L", (64, 64))}, {"negative_prompt": "blur"}])
def test_an_order_that_no_request_can_say_is_refused_and_not_sent(
    server: ScriptedServer, engine: RemoteEngine, more: dict[str, Any]
) -> None:
    refused, made = outcomes_of(engine, replace(ORDER, **more), ORDER)
    assert isinstance(refused, OrderRefused)
    assert made.shape == (64, 64, 3)
    assert len(server.asked) == 1
    with pytest.raises(OrderRefused):
        make(engine, replace(ORDER, **more))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_server_may_send_another_format_than_it_was_asked_for(
    server: ScriptedServer, engine: RemoteEngine, file_format: str
) -> None:
    server.reply_in_turn(picture(file_format=file_format, colour="white"))
    [made] = make(engine)
    assert np.array_equal(made, np.full((64, 64, 3), 255, np.uint8))


def _large() -> Reply:
    return Reply(body=b" " * (replies.max_bytes(ORDER) + 1))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(400, code="moderation_blocked"), ContentRefused),
        (refusal(400, code="content_policy_violation"), ContentRefused),
        (refusal(400, code="content_filter"), ContentRefused),
        (refusal(400, code="invalid_size"), OrderRefused),
        (refusal(422, code=None), OrderRefused),
        (refusal(401, code="invalid_api_key"), EngineError),
        (refusal(404), EngineError),
        (refusal(429), EngineError),
        (refusal(500, code="moderation_blocked"), EngineError),
        (refusal(503, Retry_After="soon"), EngineError),
        (Reply(502, b"<html>"), EngineError),
        (Reply(302, headers={"Location": "http://127.0.0.1:1/"}), EngineError),
        (Reply(body=b"{"), BadOutput),
        (Reply(body=b'{"data": []}'), BadOutput),
        (Reply(body=b'{"data": [{"url": "http://127.0.0.1:1/"}]}'), BadOutput),
        (Reply(body=b'{"data": [{"b64_json": "?"}]}'), BadOutput),
        (encoded(b"no picture"), BadOutput),
        (encoded(b""), BadOutput),
        (picture(file_format="GIF"), BadOutput),
        (picture(size=(64, 65)), BadOutput),
        (_large(), EngineError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_reply_without_the_ordered_picture_is_the_error_that_it_means(
    server: ScriptedServer, engine: RemoteEngine, reply: Reply, error: type[Exception]
) -> None:
    server.reply_in_turn(reply)
    with pytest.raises(error) as raised:
        make(engine)
    assert type(raised.value) is error
    assert "secret" not in str(raised.value)
    assert len(server.asked) == 1


def test_the_size_of_a_picture_is_read_before_its_pixels_are(
    server: ScriptedServer, engine: RemoteEngine
) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 7000, 7000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    server.reply_in_turn(encoded(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 10) + b"IDAT"))
    with pytest.raises(BadOutput, match="made 7000x7000, not 64x64"):
        make(engine)


def test_a_picture_that_breaks_off_is_no_picture(server: ScriptedServer, engine: RemoteEngine) -> None:
    whole = replies.read_file(picture(size=(64, 64)).body)
    server.reply_in_turn(encoded(whole[:-30]))
    with pytest.raises(BadOutput):
        make(engine)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    server: ScriptedServer, engine: RemoteEngine, status: int
) -> None:
    server.reply_in_turn(refusal(status, Retry_After="0"), refusal(status, Retry_After="0.01"), picture())
    assert len(make(engine)) == 1
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_ends_the_attempt_in_time(
    server: ScriptedServer, describe: Describe
) -> None:
    engine = make_engine(server, describe(timeout_seconds=1))
    server.reply_in_turn(refusal(429, Retry_After="3600"))
    with pytest.raises(EngineError, match="made nothing in 1 s"):
        make(engine)


def test_a_server_that_does_not_reply_ends_the_attempt_in_time(
    server: ScriptedServer, describe: Describe
) -> None:
    engine = make_engine(server, describe(timeout_seconds=1))
    server.reply_in_turn(Reply(hangs=True))
    with pytest.raises(EngineError, match="made nothing in 1 s"):
        make(engine)
    assert server.closed.acquire(timeout=scripted_server.LONG_SECONDS)


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


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (404, None), (401, Misconfigured), (403, Misconfigured), (503, EngineError)],
)
def test_a_worker_starts_once_its_server_answers(
    server: ScriptedServer, describe: Describe, status: int, error: Any
) -> None:
    server.reply_in_turn(refusal(status))
    if error is None:
        assert make_engine(server, describe()).device_name.startswith("remote: 127.0.0.1:")
    else:
        with pytest.raises(error) as raised:
            load_engine(model=describe(), device="auto")
        assert type(raised.value) is error


def test_logs_hold_neither_key_nor_prompt(
    server: ScriptedServer,
    describe: Describe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FAR_KEY", "sesame")
    with caplog.at_level(logging.INFO):
        engine = make_engine(server, describe(api_key="FAR_KEY"))
        make(engine)
        server.reply_in_turn(refusal(500, code="a secret prompt"))
        with pytest.raises(EngineError, match=r"^the remote server replied 500 invalid_request_error$"):
            make(engine)
    assert "sesame" not in caplog.text
    assert "secret" not in caplog.text
