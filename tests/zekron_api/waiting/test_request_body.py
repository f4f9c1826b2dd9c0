"""Limits on how much of a request's body is read before it is judged, and of whom."""

import asyncio
from typing import Any

import pytest
from pytest_django import Settings

from billing import accounts
from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from zekron_api.waiting import request_body

JSON = ("content-type", "application/json")


def read(settings: Any, *, announced: int | None = None, has_key: bool = True) -> tuple[int, int, int]:
    """Read a body of four parts of 600 bytes under a limit of 1,000.

    Return how many bytes were kept, how many parts were left, and how often the key was asked for.
    """
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE, settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1000, 500
    parts = [{"type": "http.request", "body": b"x" * 600, "more_body": left > 0} for left in (3, 2, 1, 0)]
    asked = []

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def ask() -> bool:
        asked.append(True)
        return has_key

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    reading = request_body.read_bounded(scope={"headers": headers}, receive=receive, has_key=ask)
    with asyncio.run(reading) as body_file:
        return len(body_file.read()), len(parts), len(asked)


def test_no_more_is_read_than_it_takes_to_refuse_it(settings: Settings) -> None:
    assert read(settings) == (1001, 2, 1)


def test_nothing_is_read_of_what_is_announced_to_be_over_the_limit(settings: Settings) -> None:
    assert read(settings, announced=1001) == (0, 4, 0)
    assert read(settings, announced=1000) == (1001, 2, 1)


def test_without_a_key_no_more_is_read_than_memory_holds(settings: Settings) -> None:
    assert read(settings, has_key=False) == (600, 3, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("idle_worker")
@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused_in_the_order_of_the_contract(
    room: asgi_client.Served, me: Caller, settings: Settings, announced: bool
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 3_000_000
    length = [("content-length", "3000001")] if announced else []
    # Of what is announced nothing is read, so that nothing need come.
    part = b"" if announced else b" " * 3_000_001

    def answer(key: str) -> Any:
        headers = [("authorization", f"Bearer {key}"), JSON, *length]
        return refusal(room.send_without_end("POST", "/v1/generate", headers, part))

    assert answer(me.key) == (413, "payload_too_large")
    assert answer("zk_unknown") == (401, "invalid_api_key")
    accounts.suspend(account_id=me.account.pk)
    assert answer(me.key) == (403, "access_denied")
