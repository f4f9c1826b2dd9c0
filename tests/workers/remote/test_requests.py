"""Requests to a remote server: all that an order says, within a bound of time, and no secret in a log."""

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from tests.workers.remote import scripted_server
from tests.workers.remote.calls import ORDER, make, make_engine, outcomes_of
from tests.workers.remote.scripted_server import Reply, ScriptedServer, picture, refusal
from workers.catalogue import ImageModel
from workers.engine.interface import (
    EngineError,
    Misconfigured,
    OrderRefused,
    load_engine,
)
from workers.remote.engine import RemoteEngine

Describe = Callable[..., ImageModel]


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


def test_no_proxy_of_the_environment_is_used(
    server: ScriptedServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(make(engine)) == 1


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
