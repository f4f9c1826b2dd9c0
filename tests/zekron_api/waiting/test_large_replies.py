"""Replies of megabytes: no more of them are in memory than there is room for, however slowly their clients read."""

import asyncio
import json
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from billing import keys
from billing.models import Account
from storage import images
from storage.models import StoredImage
from tests import factories, processes
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.lifecycle import generations, image_tokens
from workers.models import Generation, Status
from zekron_api.endpoints import generation_response, response_bodies
from zekron_api.waiting import asgi_handler, sending
from zekron_api.waiting.asgi_handler import (
    MAX_LANE_THREADS,
    MAX_LARGE_REPLIES,
    MAX_LARGE_REPLIES_PER_ACCOUNT,
    THREAD_COUNT,
    WaitingRoom,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]

IMAGE_BYTES = 3_000_000
ACCOUNTS = MAX_LARGE_REPLIES // MAX_LARGE_REPLIES_PER_ACCOUNT
# As many as an account may send in a minute.
CLIENTS_AN_ACCOUNT = 60
# While a reply is made: the object, what is unsealed of it, and that without its padding.
COPIES = 3
# What the first requests load, and what is lost between the pieces of memory.
SLACK_BYTES = 60_000_000


def completed(owner: Account, content: bytes = b"png") -> Generation:
    """Return a completed generation with this image."""
    running = factories.claim(generation_id=factories.submit(owner, now=None).pk)
    image = images.put(
        content=content, mime_type="image/png", associated_data="test", expires_at=factories.NOW
    )
    generations.complete(generation=running, image=image, cost_micros=running.quote_micros)
    return Generation.objects.get(pk=running.pk)


class Reader(Exchange):
    """Asks for an image, and reads no more than the head of the reply until it is told to."""

    def __init__(self, app: Any, key: str, generation_id: int) -> None:
        self.reads = asyncio.Event()
        self.path = f"/v1/images/{image_tokens.token_of(generation_id=generation_id)}"
        super().__init__(app, key, b"", method="GET", path=self.path)

    async def _send(self, message: dict[str, Any]) -> None:
        await super()._send(message)
        if message["type"] == "http.response.start":
            await self.reads.wait()


def test_the_megabytes_of_a_reply_pass_no_serializer(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = completed(me.account, b"an image")
    seen: list[bytes] = []
    serialized = response_bodies.generation_reply

    def spy(row: Any, content: bytes, account: Any) -> Any:
        seen.append(content)
        return serialized(row, content, account)

    monkeypatch.setattr(response_bodies, "generation_reply", spy)
    data = json.loads(generation_response.build(generation_id=generation.pk).content)["data"]
    assert data["image"]["b64_json"] == "YW4gaW1hZ2U="
    assert seen == [response_bodies.PLACEHOLDER]


def test_no_more_replies_are_made_than_there_is_room_for_and_short_ones_need_none(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 3)
    generation = completed(me.account)

    async def scenario(app: WaitingRoom) -> None:
        readers = [Reader(app, me.key, generation.pk) for _ in range(10)]
        await until(lambda: sum(reader.status == 200 for reader in readers) == 3)
        short = Exchange(app, me.key, b"", method="GET", path="/v1/balance")
        await short.task
        assert short.status == 200
        assert sum(reader.status == 200 for reader in readers) == 3
        for reader in readers:
            reader.reads.set()
        await asyncio.gather(*(reader.task for reader in readers))
        assert {reader.body for reader in readers} == {b"png"}

    served(scenario)


def test_who_does_not_read_is_cut_off_and_the_next_has_the_place(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 1)
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 0.05)
    generation = completed(me.account)

    async def scenario(app: WaitingRoom) -> None:
        deaf = Reader(app, me.key, generation.pk)
        await deaf.task
        assert deaf.body == b""
        reader = Reader(app, me.key, generation.pk)
        reader.reads.set()
        await reader.task
        assert reader.body == b"png"

    served(scenario)


def test_an_account_that_does_not_read_keeps_no_place_from_another(
    served: Serve,
    me: Caller,
    stranger: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 3)
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES_PER_ACCOUNT", 2)
    mine, theirs = completed(me.account), completed(stranger.account)

    async def scenario(app: WaitingRoom) -> None:
        deaf = [Reader(app, me.key, mine.pk) for _ in range(5)]
        await until(lambda: sum(reader.status == 200 for reader in deaf) == 2)
        for _ in range(2):
            reader = Reader(app, stranger.key, theirs.pk)
            reader.reads.set()
            await reader.task
            assert reader.body == b"png"
        assert sum(reader.status == 200 for reader in deaf) == 2
        for reader in deaf:
            reader.reads.set()
        await asyncio.gather(*(reader.task for reader in deaf))
        assert {reader.body for reader in deaf} == {b"png"}

    served(scenario)


def test_a_storm_of_replies_leaves_threads_to_new_requests(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generation, calm, begun = completed(me.account), threading.Event(), []

    def load(*, image: StoredImage) -> bytes:
        begun.append(image)
        assert calm.wait(60)
        return b"png"

    monkeypatch.setattr(images, "load", load)

    async def scenario(app: WaitingRoom) -> None:
        readers = [Reader(app, me.key, generation.pk) for _ in range(THREAD_COUNT + 1)]
        await until(lambda: len(begun) == MAX_LANE_THREADS)
        short = Exchange(app, me.key, b"", method="GET", path="/v1/balance")
        await short.task
        assert (short.status, len(begun)) == (200, MAX_LANE_THREADS)
        calm.set()
        for reader in readers:
            reader.reads.set()
        await asyncio.gather(*(reader.task for reader in readers))

    served(scenario)


def test_a_storm_of_requests_leaves_threads_to_replies(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm, begun = threading.Event(), []

    def balance(account: Any) -> dict[str, Any]:
        begun.append(account)
        assert calm.wait(60)
        return {}

    async def scenario(app: WaitingRoom) -> None:
        monkeypatch.setattr(response_bodies, "balance_reply", balance)
        parked = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        storm = [Exchange(app, me.key, b"", method="GET", path="/v1/balance") for _ in range(THREAD_COUNT)]
        await until(lambda: len(begun) == MAX_LANE_THREADS)
        await in_thread(complete_all)
        await parked.task
        assert (parked.status, len(begun)) == (200, MAX_LANE_THREADS)
        calm.set()
        await asyncio.gather(*(exchange.task for exchange in storm))

    served(scenario)


@contextmanager
def asking(port: int, key: str, path: str) -> Iterator[socket.socket]:
    """Return a client that has asked, and has room for few bytes."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        yield client


def answered(clients: Sequence[socket.socket]) -> list[socket.socket]:
    """Return those to whom something was sent."""
    return select.select(clients, [], [], 0)[0]


def until_answered(clients: Sequence[socket.socket], number: int) -> list[socket.socket]:
    """Return the first to whom something was sent, once they are this many."""
    give_up_at = time.monotonic() + 60
    while len(found := answered(clients)) < number:
        assert time.monotonic() < give_up_at, f"only {len(found)} of {number} were answered"
        time.sleep(0.05)
    return found


def memory_bytes(pid: int) -> int:
    """Return what the process has of the machine's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of others is read from /proc")
def test_memory_grows_with_the_room_for_replies_and_not_with_the_clients_that_do_not_read(
    tmp_path: Path, objects_folder: Path
) -> None:
    asks: list[tuple[str, str]] = []
    for _ in range(ACCOUNTS):
        owner = factories.account()
        made = completed(owner, os.urandom(IMAGE_BYTES))
        path = f"/v1/images/{image_tokens.token_of(generation_id=made.pk)}"
        asks += [(keys.issue(account_id=owner.pk)[1], path)] * CLIENTS_AN_ACCOUNT
    with processes.running(folder=tmp_path, objects_folder=objects_folder) as service, ExitStack() as stack:
        server = processes.ready(service.url)
        before = memory_bytes(service.started["web"].pid)
        clients = [stack.enter_context(asking(service.port, key, path)) for key, path in asks]
        first = until_answered(clients, MAX_LARGE_REPLIES)
        # The views of all that asked before it have said what they have to say.
        assert server.ask("/v1/balance").status == 200
        assert len(answered(clients)) == MAX_LARGE_REPLIES
        grown = memory_bytes(service.started["web"].pid) - before
        bound = (MAX_LARGE_REPLIES + MAX_LANE_THREADS * COPIES) * IMAGE_BYTES + SLACK_BYTES
        assert grown < bound < len(clients) * IMAGE_BYTES / 2
        for client in first:
            client.close()
        until_answered([client for client in clients if client not in first], MAX_LARGE_REPLIES)
    assert not Generation.objects.exclude(status=Status.COMPLETED).exists()
