"""Serves Django's synchronous views to thousands of waiting clients from a few threads.

Views run in `THREAD_COUNT` threads as they would under WSGI, each thread with its own database connection. A view
that has to wait returns `Parked`, and the wait happens here: in the event loop, without a thread or a connection.
Replies of megabytes are made when there is room for them, so that memory does not grow with who is slow to read.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Barrier
from typing import Any, Final, TypeVar, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import set_script_prefix
from django.utils.http import parse_header_parameters

from workers.lifecycle import queries
from zekron_api.http import authentication, errors
from zekron_api.waiting import request_body
from zekron_api.waiting.completion_waiters import CompletionWaiters
from zekron_api.waiting.deferred_response import (
    SUPPORTS_DEFERRAL,
    DeferredResponse,
    PendingGenerationResponse,
)
from zekron_api.waiting.fair_semaphore import PerAccountSemaphore
from zekron_api.waiting.request_body import Scope

log = logging.getLogger(__name__)

# Views are short; more threads than this only queue for the interpreter's lock.
THREAD_COUNT: Final = 8
# Neither requests nor replies take all threads: in a storm of the one, the other goes on.
MAX_LANE_THREADS: Final = 6
# So many replies of megabytes are in memory at once, until their clients have read them.
MAX_LARGE_REPLIES: Final = 64
# And so many for one account: who reads slowly keeps its own images waiting, and nobody else's.
MAX_LARGE_REPLIES_PER_ACCOUNT: Final = 16
# A body at its limit takes this long at a megabit a second.
MAX_BODY_SECONDS: Final = 270.0
# And a reply has as long as it takes at a megabit a second, after this.
BASE_REPLY_SECONDS: Final = 20.0
MIN_REPLY_BYTES_PER_SECOND: Final = 125_000

Receive = Any
Send = Any
T = TypeVar("T")


class Utf8Request(ASGIRequest):
    """A request whose text is UTF-8. Django would decode the query by the charset of the body's Content-Type, and
    answer one that it does not know, or that is no text at all, with a traceback."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            # What cannot be read is no type that anyone accepts.
            self.content_type, self.content_params = "", {}


class WaitingRoom(ASGIHandler):
    """The ASGI application: Django's own handler, but synchronous inside, and patient outside."""

    request_class = Utf8Request

    def __init__(self) -> None:
        # Django's initialiser would load the middleware for async.
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREAD_COUNT, thread_name_prefix="view")
        self._request_lane = asyncio.Semaphore(MAX_LANE_THREADS)
        self._reply_lane = asyncio.Semaphore(MAX_LANE_THREADS)
        self._places = PerAccountSemaphore(
            limit=MAX_LARGE_REPLIES, limit_an_account=MAX_LARGE_REPLIES_PER_ACCOUNT
        )
        self.waiters = CompletionWaiters(ended_among=self._ended_among)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the server: a request, or the server's own start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"{scope['type']} is not spoken here")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._first_response(scope, receive)
        if response is None or (
            isinstance(response, PendingGenerationResponse) and await self._wait(response, receive)
        ):
            return
        if not isinstance(response, DeferredResponse):
            await self._send(response, send)
            return
        async with self._places.slot(response.account_id):
            async with self._reply_lane:
                reply = await self._in_thread(partial(self._with_database, response.resolve))
            await self._send(reply, send)

    async def _first_response(self, scope: Scope, receive: Receive) -> HttpResponse | None:
        """What middleware and view say to the request; None when its client left before it was whole."""
        try:
            async with asyncio.timeout(MAX_BODY_SECONDS):
                has_key = partial(self._has_key, scope)
                body_file = await request_body.read_bounded(scope=scope, receive=receive, has_key=has_key)
        except RequestAborted:
            return None
        except TimeoutError:
            return _too_slow()
        async with self._request_lane:
            return await self._in_thread(partial(self._respond, scope, body_file))

    async def _send(self, response: HttpResponse, send: Send) -> None:
        """Sends as fast as the client reads; one that does not is cut off, for others wait for its place."""
        try:
            async with asyncio.timeout(
                BASE_REPLY_SECONDS + len(response.content) / MIN_REPLY_BYTES_PER_SECOND
            ):
                await self.send_response(response, send)
        except TimeoutError:
            log.info("a client did not read its reply, and was cut off")
            await _cut_off(send)
        except OSError:
            log.info("a client left before its reply was sent")

    async def _wait(self, parked: PendingGenerationResponse, receive: Receive) -> bool:
        """Waits for the generation's end, the deadline, or the client's leaving; says whether the client left."""
        ended = self.waiters.add(parked.generation_id)
        left = asyncio.ensure_future(receive())
        try:
            await asyncio.wait(
                (ended, left),
                timeout=max(0.0, parked.deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            return left.done() and bool(left.result()["type"] == "http.disconnect")
        finally:
            self.waiters.remove(parked.generation_id, ended)
            left.cancel()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        tasks = [asyncio.create_task(self.waiters.listen()), asyncio.create_task(self.waiters.poll())]
        for task in tasks:
            task.add_done_callback(_report)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await _ended(tasks)
        await asyncio.to_thread(self._close_threads)
        await send({"type": "lifespan.shutdown.complete"})

    def _close_threads(self) -> None:
        """Each thread closes its own connection: they meet at a barrier, so that none closes twice and none is left."""
        together = Barrier(THREAD_COUNT)

        def close() -> None:
            together.wait()
            connections.close_all()

        for _ in range(THREAD_COUNT):
            self._threads.submit(close)
        self._threads.shutdown()

    def _respond(self, scope: Scope, body_file: request_body.Body) -> HttpResponse:
        """Runs the middleware and the view, in a thread, and closes what belongs to the request."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        with closing(body_file):
            request, refusal = self.create_request(scope, body_file)
            if request is None:
                signals.request_finished.send(sender=self.__class__)
                return errors.reply_with_status(refusal.status_code if refusal else 400)
            setattr(request, SUPPORTS_DEFERRAL, True)
            # A body that comes in chunks has no length in its headers, and of one that was not read they say it.
            byte_count = body_file.seek(0, os.SEEK_END) or request_body.announced_byte_count(scope)
            request.META["CONTENT_LENGTH"] = str(byte_count)
            body_file.seek(0)
            response = self.get_response(request)
            collected = _collected(response) if isinstance(response, StreamingHttpResponse) else response
            whole = cast(HttpResponse, collected)
            if request.method == "HEAD" and isinstance(whole, DeferredResponse):
                whole = whole.resolve()
            response.close()
            if request.method == "HEAD":
                # Its headers, the length among them, stay those of GET.
                whole.content = b""
        return whole

    def _with_database(self, work: Callable[[], T]) -> T:
        """Runs what uses the database outside a request, with the same care for stale connections."""
        close_old_connections()
        try:
            return work()
        finally:
            close_old_connections()

    async def _ended_among(self, generation_ids: Any) -> set[int]:
        look_up = partial(queries.ended_among, generation_ids=generation_ids)
        try:
            return await self._in_thread(partial(self._with_database, look_up))
        except DatabaseError as error:
            log.warning("could not look at the rows of %d generations: %s", len(generation_ids), error)
            return set()

    async def _has_key(self, scope: Scope) -> bool:
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        look_up = partial(authentication.account_of, authorization=authorization)
        try:
            await self._in_thread(partial(self._with_database, look_up))
        except authentication.REFUSALS:
            # The view finds the same, and says so.
            return False
        except DatabaseError as error:
            log.warning("could not look up the key of a large request: %s", error)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _cut_off(send: Send) -> None:
    """Ends the connection with what it has not sent. ASGI has no word for that, so it is uvicorn's transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        # The server hears of it before it hears that the reply is not whole.
        await asyncio.sleep(0)


def _too_slow() -> HttpResponse:
    response = errors.reply_with_status(408)
    # What is still on its way belongs to no later request.
    response["Connection"] = "close"
    return response


async def _ended(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancels until it has come true: Redis's client loses a cancellation that meets it while it connects."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)


def _collected(response: StreamingHttpResponse) -> HttpResponse:
    """A small file of the admin, whole: a thread must not be held while a slow client reads."""
    whole = HttpResponse(response.getvalue(), status=response.status_code, headers=dict(response.items()))
    whole.cookies = response.cookies
    return whole


def _report(task: "asyncio.Task[None]") -> None:
    """A listener that dies must not die unheard: clients would then wait for the poll or their deadline."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("the waiting room no longer hears of ends", exc_info=error)
