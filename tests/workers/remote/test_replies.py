"""Replies of a remote server: what is taken for a picture, and what each refusal means."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.workers.remote.calls import ORDER, make
from tests.workers.remote.scripted_server import Reply, ScriptedServer, encoded, picture, refusal
from workers.catalogue import ImageModel
from workers.engine.interface import (
    BadOutput,
    EngineError,
    OrderRefused,
)
from workers.moderation import ContentRefused
from workers.remote import replies
from workers.remote.engine import RemoteEngine

Describe = Callable[..., ImageModel]


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
