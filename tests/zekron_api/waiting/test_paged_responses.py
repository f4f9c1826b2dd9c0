"""Responses in pages: as long as they like, as slow as their clients, and nothing is held between two pages."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory

from tests import factories
from tests.zekron_api.asgi_client import Served
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, in_thread, until
from workers.models import Status
from workers.usage import export
from zekron_api.http import errors
from zekron_api.middleware import wait_in_place
from zekron_api.waiting import paged_response, sending, shutdown
from zekron_api.waiting.asgi_handler import MAX_LARGE_REPLIES_PER_ACCOUNT, THREAD_COUNT, WaitingRoom
from zekron_api.waiting.paged_response import PagedResponse

EXPORT = "/v1/usage/export?format=jsonl"
_IDLE = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


class Client:
    """The server's side of a client: what it was sent, and whether its connection was cut off."""

    def __init__(self, on_send: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.transport = self
        self.is_cut_off = self.disconnected = False
        self._on_send = on_send

    def abort(self) -> None:
        self.is_cut_off = True

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._on_send(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", True)


def serve(pages: Iterator[bytes], client: Client, *, scope: dict[str, Any] | None = None) -> Any:
    """Serve the pages to the client, and return the reply in their place."""
    response = PagedResponse(account_id=1, pages=pages, content_type="text/csv")

    async def read_page() -> bytes | None:
        return response.read_page()

    return asyncio.run(
        paged_response.serve(
            response,
            scope={} if scope is None else scope,
            send=client.send,
            slot=nullcontext,
            read_page=read_page,
        )
    )


def breaking(*pages: bytes, error: Exception) -> Iterator[bytes]:
    yield from pages
    raise error


def test_pages_are_sent_one_after_the_other_without_a_length() -> None:
    client = Client()
    assert serve(iter([b"a", b"", b"b"]), client) is None
    start, *parts = client.messages
    assert start["status"] == 200
    assert "content-length" not in {name.decode().lower() for name, _ in start["headers"]}
    assert [part["body"] for part in parts] == [b"a", b"b", b""]
    assert client.is_complete
    assert not client.is_cut_off


def test_a_response_without_a_page_is_empty_and_complete() -> None:
    client = Client()
    serve(iter([]), client)
    assert (client.body, client.is_complete) == (b"", True)


def test_an_error_before_the_first_page_is_a_reply() -> None:
    client = Client()
    reply = serve(breaking(error=OperationalError()), client)
    assert (reply.status_code, json.loads(reply.content)["error"]["type"]) == (503, "service_unavailable")
    assert client.messages == []


def test_an_error_after_the_first_page_cuts_the_connection_off(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    with caplog.at_level(logging.INFO):
        assert serve(breaking(b"a", error=OperationalError()), client) is None
    assert (client.body, client.is_complete, client.is_cut_off) == (b"a", False, True)
    assert "service_unavailable" in caplog.text


def test_a_server_that_stops_cuts_the_connection_off_after_a_page() -> None:
    scope: dict[str, Any] = {}
    client = Client(lambda message: shutdown.mark(scope))
    serve(iter([b"a", b"b"]), client, scope=scope)
    assert (client.body, client.is_complete, client.is_cut_off) == (b"a", False, True)


def test_no_page_is_read_for_a_client_that_has_left() -> None:
    pages = iter([b"a", b"b", b"c"])

    def leave(message: dict[str, Any]) -> None:
        client.disconnected = message.get("body") == b"b"

    client = Client(leave)
    serve(pages, client)
    assert list(pages) == [b"c"]
    assert not client.is_complete


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 0.01)
    client = Client()
    sent = client.send

    async def hang(message: dict[str, Any]) -> None:
        await sent(message)
        await asyncio.Event().wait()

    client.send = hang  # type: ignore[method-assign]

    async def cut_off(_: object) -> None:
        client.abort()

    # Otherwise the transport is found by the method's owner.
    monkeypatch.setattr(sending, "cut_off", cut_off)
    serve(iter([b"a"]), client)
    assert client.is_cut_off


def test_a_server_without_a_waiting_room_collects_the_pages() -> None:
    def respond(pages: Iterator[bytes]) -> Any:
        response = PagedResponse(account_id=1, pages=pages, content_type="text/csv")
        return wait_in_place(lambda _: response)(RequestFactory().get("/"))

    assert respond(iter([b"a", b"b"])).content == b"ab"
    refused = respond(breaking(b"a", error=OperationalError()))
    assert isinstance(refused, errors.ErrorReply)
    assert refused.status_code == 503


class Reader(Exchange):
    """A client that takes the beginning of the response and reads on when it is told to."""

    def __init__(self, app: Any, key: str) -> None:
        self.reads = asyncio.Event()
        super().__init__(app, key, b"", method="GET", path=EXPORT)

    async def _send(self, message: dict[str, Any]) -> None:
        await super()._send(message)
        if message["type"] == "http.response.body":
            await self.reads.wait()


@pytest.mark.django_db(transaction=True)
def test_slow_readers_hold_no_thread_and_no_transaction(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ENTRIES_A_PAGE", 2)
    for _ in range(3):
        factories.generation_in(Status.COMPLETED, me.account)

    def count_idle() -> int:
        with connection.cursor() as cursor:
            cursor.execute(_IDLE)
            return int(cursor.fetchone()[0])

    async def scenario(app: WaitingRoom) -> None:
        readers = [Reader(app, me.key) for _ in range(MAX_LARGE_REPLIES_PER_ACCOUNT + 1)]
        assert len(readers) > THREAD_COUNT
        await until(lambda: sum(bool(reader.body) for reader in readers) == MAX_LARGE_REPLIES_PER_ACCOUNT)
        for _ in range(5):
            short = Exchange(app, me.key, b"", method="GET", path="/v1/balance")
            await short.task
            assert short.status == 200
        # The pages of one account have a limit, wherever each of its exports is.
        assert sum(bool(reader.body) for reader in readers) == MAX_LARGE_REPLIES_PER_ACCOUNT
        assert await in_thread(count_idle) == 0
        for reader in readers:
            reader.reads.set()
        await asyncio.gather(*(reader.task for reader in readers))
        for reader in readers:
            assert [json.loads(line)["entry"] for line in reader.body.splitlines()] == [3, 5, 7]

    served(scenario)


@pytest.mark.django_db(transaction=True)
def test_an_export_passes_the_waiting_room(
    room: Served, me: Caller, bearer: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.generation_in(Status.COMPLETED, me.account)
    whole = room.send("GET", EXPORT, [bearer])
    assert (whole.status_code, whole["content-type"]) == (200, "application/jsonl")
    assert json.loads(whole.content)["entry"] == 3
    assert "x-request-id" in whole.headers
    assert "x-ratelimit-remaining" in whole.headers
    head = room.send("HEAD", EXPORT, [bearer])
    assert (head.status_code, head.content) == (200, b"")
    assert head["content-type"] == "application/jsonl"

    def refuse(**_: object) -> Iterator[Any]:
        raise OperationalError
        yield

    monkeypatch.setattr(export, "read_pages", refuse)
    refused = room.send("GET", EXPORT, [bearer])
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "service_unavailable")
    assert "x-request-id" in refused.headers
