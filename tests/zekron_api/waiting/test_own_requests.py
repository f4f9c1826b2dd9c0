"""Requests of the service to itself: they wait without a thread, keep their slot, and end with their client."""

import asyncio
import base64
import gc
import json
import tracemalloc
from typing import Any

import pytest

from tests import factories, images
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.mcp_server.agents import message
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.lifecycle import generations
from workers.models import Generation, Status
from zekron_api.waiting import asgi_handler, sending
from zekron_api.waiting.asgi_handler import THREAD_COUNT, WaitingRoom
from zekron_api.waiting.own_requests import ClientLeft, OwnRequests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]

BOAT = {"prompt": "a boat", "size": "512x512"}


def _read(app: WaitingRoom, key: str, row: Generation) -> Exchange:
    return message(app, key, "tools/call", {"name": "get_generation", "arguments": {"id": row.pk}})


def _make(app: WaitingRoom, key: str, tool: str = "generate_image", **more: Any) -> Exchange:
    return message(app, key, "tools/call", {"name": tool, "arguments": {**BOAT, **more}})


class Deaf:
    """A client that reads no more than the head of its response until it is told to."""

    def __init__(self, app: WaitingRoom, key: str, row: Generation) -> None:
        self.reads = asyncio.Event()
        self._exchange = Exchange(self._serve(app), key, _body(row), path="/mcp", accept="application/json")
        self.task = self._exchange.task

    @property
    def has_head(self) -> bool:
        return self._exchange.status == 200

    def _serve(self, app: WaitingRoom) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            async def send_slowly(part: Any) -> None:
                await send(part)
                if part["type"] == "http.response.start":
                    await self.reads.wait()

            await app(scope, receive, send_slowly)

        return serve


def _body(row: Generation) -> bytes:
    params = {"name": "get_generation", "arguments": {"id": row.pk}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def test_more_calls_than_threads_wait_and_others_are_answered(served: Serve) -> None:
    count = 2 * THREAD_COUNT
    callers = [caller() for _ in range(count)]

    async def scenario(app: WaitingRoom) -> None:
        sent = [_make(app, each.key) for each in callers]
        await until(lambda: len(app.waiters) == count)
        balance = Exchange(app, callers[0].key, b"", method="GET", path="/v1/balance")
        await balance.task
        assert balance.status == 200
        await in_thread(complete_all)
        await asyncio.gather(*(each.task for each in sent))
        assert [json.loads(each.body)["result"]["isError"] for each in sent] == [False] * count

    served(scenario)


def test_a_call_that_waits_keeps_none_of_the_images_that_it_sent(served: Serve, me: Caller) -> None:
    # A small picture in a file of megabytes.
    content = images.with_chunk(images.saved(images.halves()), b"prVt", bytes(6_000_000))
    source = {"data": base64.b64encode(content).decode()}

    async def scenario(app: WaitingRoom) -> None:
        # What the first request loads is loaded.
        await _read(app, me.key, Generation(pk=1)).task
        tracemalloc.start()
        try:
            sent = _make(app, me.key, "edit_image", images=[source])
            await until(lambda: len(app.waiters) == 1)
            # The test's own copies of the message.
            sent.scope.clear()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 3_000_000
        finally:
            tracemalloc.stop()
        await in_thread(complete_all)
        await sent.task
        assert json.loads(sent.body)["result"]["isError"] is False

    served(scenario)


def test_a_reply_keeps_its_slot_until_the_client_has_read_what_was_made_of_it(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 1)
    row = factories.generation_in(Status.COMPLETED, me.account)

    async def scenario(app: WaitingRoom) -> None:
        deaf = Deaf(app, me.key, row)
        await until(lambda: deaf.has_head)
        other = _read(app, me.key, row)
        await asyncio.wait((other.task,), timeout=0.3)
        assert other.status == 0
        deaf.reads.set()
        await asyncio.gather(deaf.task, other.task)
        assert other.status == 200

    served(scenario)


def test_a_client_that_does_not_read_is_cut_off_and_the_next_has_its_slot(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 1)
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 0.05)
    row = factories.generation_in(Status.COMPLETED, me.account)

    async def scenario(app: WaitingRoom) -> None:
        deaf = Deaf(app, me.key, row)
        await deaf.task
        other = _read(app, me.key, row)
        await other.task
        assert other.status == 200

    served(scenario)


def test_the_image_of_a_source_holds_no_slot_during_the_edit(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_LARGE_REPLIES", 1)
    # A slot that is never given back would be free again after this time.
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 1000)
    row = factories.submit(me.account, now=None)

    async def scenario(app: WaitingRoom) -> None:
        await in_thread(lambda: _complete(row))
        sent = _make(app, me.key, "edit_image", images=[{"generation_id": row.pk}])
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await until(sent.task.done)
        assert json.loads(sent.body)["result"]["isError"] is False

    served(scenario)


def _complete(row: Generation) -> None:
    picture = factories.sealed(images.saved(images.halves()))
    running = factories.claim(generation_id=row.pk)
    generations.complete(generation=running, image=picture, cost_micros=running.quote_micros)


@pytest.mark.parametrize("is_sent", [True, False])
def test_the_server_learns_whether_the_client_got_its_response(
    served: Serve, me: Caller, is_sent: bool
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        requests = _requests(app, me)
        # A retry by a library finds the generation only if its client is noted as lost.
        reply = asyncio.create_task(
            requests.send(
                "POST",
                "/v1/generate",
                body=dict(BOAT),
                headers={"x-stainless-retry-count": "0"},
            )
        )
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        assert (await reply).status == 200
        assert await in_thread(_count_lost) == 0
        await requests.release(is_sent=is_sent)
        assert await in_thread(_count_lost) == int(not is_sent)

    served(scenario)


def test_an_error_of_the_application_reaches_the_one_who_asked(served: Serve, me: Caller) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def scenario(app: WaitingRoom) -> None:
        del app
        for application, error in ((broken, ZeroDivisionError), (silent, ClientLeft)):
            requests = _requests(application, me)
            with pytest.raises(error):
                await requests.send("GET", "/v1/balance")
            await requests.release(is_sent=True)

    served(scenario)


def _requests(application: Any, me: Caller) -> OwnRequests:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {me.key}".encode()), (b"cookie", b"x")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}
    return OwnRequests(application, scope=scope, receive=asyncio.Event().wait, request_id="a")


def _count_lost() -> int:
    return Generation.objects.filter(client_lost_at__isnull=False).count()
