"""The waiting room: an ASGI handler that serves Django's synchronous views to thousands of waiting clients.

Views run in `THREAD_COUNT` threads as under WSGI, and each thread has its own database connection. A view that has to
wait returns a `PendingGenerationResponse`. The wait then happens in the event loop, without a thread or a connection.
Responses of megabytes are built only when a slot is free, so memory does not grow with the number of slow readers.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, Final, TypeVar, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import DatabaseError, close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import set_script_prefix

from workers import tracing
from workers.lifecycle import queries, watching
from workers.lifecycle.watching import State
from workers.messaging import background
from zekron_api.http import authentication, cross_origin, errors, openai_errors, process_metrics
from zekron_api.http.errors import ErrorReply
from zekron_api.http.pending_check import PendingCheckResponse
from zekron_api.waiting import futures, half_close, paged_response, request_body, sending
from zekron_api.waiting.completion_waiters import CompletionWaiters
from zekron_api.waiting.deferred_response import (
    SUPPORTS_DEFERRAL,
    DeferredResponse,
    PendingGenerationResponse,
    with_headers_of,
)
from zekron_api.waiting.event_stream import HAS_STREAM_PLACE, BuildEnd, Event, EventStreamResponse
from zekron_api.waiting.event_streams import EventStreams
from zekron_api.waiting.fair_semaphore import PerAccountSemaphore
from zekron_api.waiting.loop_probe import LoopProbe
from zekron_api.waiting.observed_reply import ObservedReply, note_route
from zekron_api.waiting.open_lanes import OpenLanes, close_threads
from zekron_api.waiting.own_requests import ComposedResponse, OwnRequests
from zekron_api.waiting.paged_response import PagedResponse
from zekron_api.waiting.request_body import Scope
from zekron_api.waiting.utf8_request import Utf8Request

log = logging.getLogger(__name__)

# Views are short, so more threads than this would only queue for the interpreter's lock.
THREAD_COUNT: Final = 8
# Neither requests nor deferred responses may take all threads, so that a burst of one does not stop the other.
MAX_LANE_THREADS: Final = 6
# At most this many responses of megabytes are in memory at once, until their clients have read them.
MAX_LARGE_REPLIES: Final = 64
# One account has at most this many of them, so that a slow reader delays only its own images.
MAX_LARGE_REPLIES_PER_ACCOUNT: Final = 16
# At most this many small responses are computed at once, such as thumbnails. More would only delay all other requests.
MAX_COMPUTED_REPLIES: Final = 2
# A request body at its size limit takes this long at a megabit per second.
MAX_BODY_SECONDS: Final = 270.0

Receive = Any
Send = Any
T = TypeVar("T")


class WaitingRoom(ASGIHandler):
    """The ASGI application: Django's own handler with synchronous views and asynchronous waiting."""

    request_class = Utf8Request

    def __init__(self) -> None:
        # Django's initialiser would load the middleware for async.
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREAD_COUNT, thread_name_prefix="view")
        self._open_lanes = OpenLanes()
        self._request_lane = asyncio.Semaphore(MAX_LANE_THREADS)
        self._reply_lane = asyncio.Semaphore(MAX_LANE_THREADS)
        self._reply_slots = PerAccountSemaphore(
            limit=MAX_LARGE_REPLIES, limit_an_account=MAX_LARGE_REPLIES_PER_ACCOUNT
        )
        self._computed_slots = PerAccountSemaphore(
            limit=MAX_COMPUTED_REPLIES, limit_an_account=MAX_COMPUTED_REPLIES
        )
        self.waiters = CompletionWaiters(ended_among=self._ended_among, on_progress=self._note_progress)
        self.streams = EventStreams(
            waiters=self.waiters, read_states=self._read_states, build=self._build_end
        )
        self.loop_probe = LoopProbe()
        # A stream waits for its end as well.
        process_metrics.WAITING_CLIENTS.set_function(lambda: len(self.waiters) - self.streams.watched_count)
        process_metrics.STREAMS.set_function(lambda: len(self.streams))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope of the server: a request, or the lifespan with start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            with ObservedReply(scope, send) as reply:
                await self._serve(scope, receive, reply.send)
        else:
            raise ValueError(f"Unsupported scope type {scope['type']!r}. Allowed: 'http', 'lifespan'.")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._first_response(scope, receive)
        if response is None:
            return
        if isinstance(response, PendingGenerationResponse) and await self._wait(response, scope, receive):
            await self._note_lost(response)
            return
        if isinstance(response, EventStreamResponse):
            await self._stream(response, scope, receive, send)
            return
        if isinstance(response, ComposedResponse):
            await self._compose(response, scope, receive, send)
            return
        if isinstance(response, PagedResponse):
            await self._send_pages(response, scope, send)
            return
        if isinstance(response, PendingCheckResponse):
            await response.wait()
            if scope["method"] == "HEAD":
                response.content = b""
        if not isinstance(response, DeferredResponse):
            await self._send(response, send)
            return
        parent = response.traceparent
        with process_metrics.REPLY_SECONDS.time(), tracing.span("reply", parent=parent):
            is_sent = await self._reply(response, send)
        if not is_sent:
            await self._note_lost(response)

    async def _reply(self, response: DeferredResponse, send: Send) -> bool:
        """Build and send the reply in a slot. Return whether the server has taken all of it."""
        if response.is_computed:
            async with self._computed_slots.slot(response.account_id):
                reply = await self._build(response)
            # It is small, so a client that does not read it keeps no slot from others.
            return await self._send(reply, send)
        async with self._reply_slots.slot(response.account_id):
            reply = await self._build(response)
            if isinstance(reply, ErrorReply):
                # Its generation may live, and some libraries repeat any error at once.
                await self._note_lost(response)
            return await self._send(reply, send)

    async def _build(self, response: DeferredResponse) -> HttpResponse:
        async with self._reply_lane:
            return await self._in_thread(partial(self._with_database, response.resolve))

    async def _first_response(self, scope: Scope, receive: Receive) -> HttpResponse | None:
        """Return the response of middleware and view, or None when the client left before its body was whole."""
        try:
            async with asyncio.timeout(MAX_BODY_SECONDS):
                has_key = partial(self._has_key, scope)
                body_file = await request_body.read_bounded(scope=scope, receive=receive, has_key=has_key)
        except RequestAborted:
            return None
        except TimeoutError:
            return _outside_middleware(_too_slow(), scope=scope)
        respond = partial(self._respond, scope, body_file)
        if (lane := self._open_lanes.find(scope)) is not None:
            return await asyncio.get_running_loop().run_in_executor(lane, respond)
        async with self._request_lane:
            return await self._in_thread(respond)

    async def _send(self, response: HttpResponse, send: Send) -> bool:
        """Send as fast as the client reads. Return whether the server has taken the whole response.

        A client that is too slow is cut off, because others wait for its slot.
        """
        try:
            async with asyncio.timeout(sending.limit_seconds(len(response.content))):
                await self.send_response(response, send)
        except TimeoutError:
            log.info("A client read its response too slowly and was cut off.")
            await sending.cut_off(send)
        except OSError:
            log.info("A client left before its response was sent.")
        else:
            return not sending.is_disconnected(send)
        return False

    async def _stream(
        self, response: EventStreamResponse, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send events, and note a client that did not get the last one as lost."""
        noting = asyncio.create_task(self._note_half_close(response, scope)) if response.on_lost else None
        try:
            if not await self.streams.serve(response, scope=scope, receive=receive, send=send):
                await self._note_lost(response)
        except errors.TooManyStreams as error:
            await self._send(with_headers_of(response, errors.reply_to(error)), send)
        finally:
            if noting is not None:
                noting.cancel()

    async def _send_pages(self, response: PagedResponse, scope: Scope, send: Send) -> None:
        async def read_page() -> bytes | None:
            async with self._reply_lane:
                return await self._in_thread(partial(self._with_database, response.read_page))

        slot = partial(self._reply_slots.slot, response.account_id)
        refusal = await paged_response.serve(response, scope=scope, send=send, slot=slot, read_page=read_page)
        if refusal is not None:
            await self._send(with_headers_of(response, refusal), send)

    async def _compose(self, response: ComposedResponse, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a response that is made of requests to this application, which end with it."""
        requests = OwnRequests(self, scope=scope, receive=receive, request_id=response["X-Request-Id"])
        is_sent = False
        try:
            try:
                reply = await response.compose(requests)
            except Exception as error:  # noqa: BLE001 (the server would answer it with a text)
                reply = errors.reply_to(error)
            is_sent = await self._send(with_headers_of(response, reply), send)
        finally:
            await requests.release(is_sent=is_sent)

    async def _note_half_close(self, response: EventStreamResponse, scope: Scope) -> None:
        await half_close.event_of(scope).wait()
        await self._note_lost(response)

    async def _note_lost(self, response: HttpResponse) -> None:
        """Tell the generation's row once that its client was lost, if the response can be asked for again."""
        if not isinstance(response, PendingGenerationResponse | EventStreamResponse):
            return
        on_lost, response.on_lost = response.on_lost, None
        if on_lost is not None:
            try:
                await self._in_thread(partial(self._with_database, on_lost))
            except DatabaseError as error:
                log.info("Could not note that a client was lost: %s", error)

    async def _wait(self, pending: PendingGenerationResponse, scope: Scope, receive: Receive) -> bool:
        """Wait for the end of the generations, the deadline or a disconnect. Return whether the client left.

        A client that has closed its sending side may be gone or may still read. It is noted as lost, and waited for.
        """
        each = {generation_id: self.waiters.add(generation_id) for generation_id in pending.generation_ids}
        ended = futures.all_of(list(each.values()))
        left = asyncio.ensure_future(receive())
        half_closed = asyncio.ensure_future(half_close.event_of(scope).wait())
        try:
            if half_closed in await futures.first_of(ended, left, half_closed, until=pending.deadline):
                await self._note_lost(pending)
                await futures.first_of(ended, left, until=pending.deadline)
            return left.done() and bool(left.result()["type"] == "http.disconnect")
        finally:
            for generation_id, future in each.items():
                self.waiters.remove(generation_id, future)
            left.cancel()
            half_closed.cancel()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.loop_probe.set_running_loop()
        kept = {
            "completion listener": self.waiters.listen,
            "completion poll": self.waiters.poll,
            "event streams": self.streams.watch,
        }
        tasks = [
            asyncio.create_task(background.keep_running(name=name, work=work)) for name, work in kept.items()
        ]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await futures.cancel_all(tasks)
        await asyncio.to_thread(self._close_threads)
        await send({"type": "lifespan.shutdown.complete"})

    def _close_threads(self) -> None:
        close_threads(self._threads, thread_count=THREAD_COUNT)
        self._open_lanes.close()

    def _respond(self, scope: Scope, body_file: request_body.Body) -> HttpResponse:
        """Run the middleware and the view in a thread, and close the resources of the request."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        with closing(body_file):
            request, refusal = self.create_request(scope, body_file)
            if request is None:
                signals.request_finished.send(sender=self.__class__)
                reply = errors.reply_with_status(refusal.status_code if refusal else 400)
                return _outside_middleware(reply, scope=scope)
            setattr(request, SUPPORTS_DEFERRAL, True)
            setattr(request, HAS_STREAM_PLACE, self.streams.has_place)
            # A chunked body has no length in its headers. For a body that was not read, the headers have the length.
            byte_count = body_file.seek(0, os.SEEK_END) or request_body.announced_byte_count(scope)
            request.META["CONTENT_LENGTH"] = str(byte_count)
            body_file.seek(0)
            response = self.get_response(request)
            note_route(scope, request)
            collected = (
                sending.collected(response) if isinstance(response, StreamingHttpResponse) else response
            )
            whole = cast(HttpResponse, collected)
            if request.method == "HEAD" and isinstance(whole, DeferredResponse):
                whole = whole.resolve()
            response.close()
            if isinstance(whole, EventStreamResponse | PagedResponse):
                return whole.without_body() if request.method == "HEAD" else whole
            sending.with_length(whole)
            if request.method == "HEAD":
                # The response to HEAD keeps the headers of GET, the length included.
                whole.content = b""
        return whole

    def _with_database(self, work: Callable[[], T]) -> T:
        """Run database work outside a request, and close stale connections before and after it."""
        close_old_connections()
        try:
            return work()
        finally:
            close_old_connections()

    async def _ended_among(self, generation_ids: Any) -> set[int]:
        look_up = partial(queries.find_ended, generation_ids=generation_ids)
        try:
            return await self._in_thread(partial(self._with_database, look_up))
        except DatabaseError as error:
            # The absence of the database is logged once, where the process connects to it.
            log.debug("Could not read the rows of %d generations: %s", len(generation_ids), error)
            return set()

    def _note_progress(self, message: bytes) -> None:
        self.streams.note_progress(message)

    async def _read_states(self, generation_ids: Collection[int]) -> list[State]:
        read = partial(watching.read_states, generation_ids=generation_ids)
        try:
            return await self._in_thread(partial(self._with_database, read))
        except DatabaseError as error:
            log.debug("Could not read the states of %d generations: %s", len(generation_ids), error)
            return []

    async def _build_end(self, account_id: int, build: BuildEnd) -> Event | None:
        """Build the last event, which may have an image of megabytes, once a slot and a thread are free."""
        async with self._reply_slots.slot(account_id), self._reply_lane:
            try:
                return await self._in_thread(partial(self._with_database, build))
            except DatabaseError as error:
                log.debug("Could not read the end of a generation: %s", error)
                return None

    async def _has_key(self, scope: Scope) -> bool:
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        look_up = partial(authentication.live_key, authorization=authorization)
        try:
            await self._in_thread(partial(self._with_database, look_up))
        except authentication.REFUSALS:
            # The view gets the same error later and reports it to the client.
            return False
        except DatabaseError as error:
            log.debug("Could not look up the key of a large request: %s", error)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _too_slow() -> ErrorReply:
    response = errors.reply_with_status(408)
    # The rest of the body must not be read as the next request.
    response["Connection"] = "close"
    return response


def _outside_middleware(reply: ErrorReply, *, scope: Scope) -> HttpResponse:
    """Complete an error as the middleware would, which did not see it."""
    translated = openai_errors.for_path(scope["path"], reply)
    return cross_origin.add_headers(sending.with_length(translated), scope=scope)
