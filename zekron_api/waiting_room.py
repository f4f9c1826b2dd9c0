"""Serves Django's synchronous views to thousands of waiting clients from a few threads.

Views run in `THREAD_COUNT` threads as they would under WSGI, each thread with its own database connection. A view
that has to wait returns `Parked`, and the wait happens here: in the event loop, without a thread or a connection.
"""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Barrier
from typing import Any, Final, TypeVar, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import set_script_prefix
from django.utils.http import parse_header_parameters

from workers import history
from zekron_api import errors
from zekron_api.parked import CAN_PARK, Parked
from zekron_api.waiters import Waiters

log = logging.getLogger(__name__)

# Views are short; more threads than this only queue for the interpreter's lock.
THREAD_COUNT: Final = 8
# A body at its limit takes this long at a megabit a second.
BODY_SECONDS: Final = 270.0

Scope = dict[str, Any]
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
        self.waiters = Waiters(ended_among=self._ended_among)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the server: a request, or the server's own start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"{scope['type']} is not spoken here")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body_file = await self.read_body(receive)
        except RequestAborted:
            return
        except TimeoutError:
            await self.send_response(_too_slow(), send)
            return
        response = await self._in_thread(partial(self._respond, scope, body_file))
        if isinstance(response, Parked):
            if await self._wait(response, receive):
                return
            response = await self._in_thread(partial(self._with_database, response.finish))
        try:
            await self.send_response(response, send)
        except OSError:
            log.info("a client left before its reply was sent")

    async def _wait(self, parked: Parked, receive: Receive) -> bool:
        """Waits for the generation's end, the deadline, or the client's leaving; says whether the client left."""
        ended = self.waiters.join(parked.generation_id)
        left = asyncio.ensure_future(receive())
        try:
            await asyncio.wait(
                (ended, left),
                timeout=max(0.0, parked.deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            return left.done() and bool(left.result()["type"] == "http.disconnect")
        finally:
            self.waiters.leave(parked.generation_id, ended)
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

    async def read_body(self, receive: Receive) -> tempfile.SpooledTemporaryFile[bytes]:
        """The body in a file, cut one byte past the limit: enough for the view to refuse it, in its turn."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
        body_file = tempfile.SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE, mode="w+b")  # noqa: SIM115
        try:
            more = True
            # What comes after the limit is the server's to throw away: it may never end.
            while more and body_file.tell() < limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestAborted
                body_file.write(message.get("body", b"")[: limit - body_file.tell()])
                more = message.get("more_body", False)
            body_file.seek(0)
        except BaseException:
            # The client left, or took too long.
            body_file.close()
            raise
        return body_file

    def _close_threads(self) -> None:
        """Each thread closes its own connection: they meet at a barrier, so that none closes twice and none is left."""
        together = Barrier(THREAD_COUNT)

        def close() -> None:
            together.wait()
            connections.close_all()

        for _ in range(THREAD_COUNT):
            self._threads.submit(close)
        self._threads.shutdown()

    def _respond(self, scope: Scope, body_file: tempfile.SpooledTemporaryFile[bytes]) -> HttpResponse:
        """Runs the middleware and the view, in a thread, and closes what belongs to the request."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        with closing(body_file):
            request, refusal = self.create_request(scope, body_file)
            if request is None:
                signals.request_finished.send(sender=self.__class__)
                return errors.reply_with_status(refusal.status_code if refusal else 400)
            setattr(request, CAN_PARK, True)
            # A body that comes in chunks has no length in its headers; and what is here is all that there is.
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
            response = self.get_response(request)
            collected = _collected(response) if isinstance(response, StreamingHttpResponse) else response
            whole = cast(HttpResponse, collected)
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
        look_up = partial(history.ended_among, generation_ids=generation_ids)
        try:
            return await self._in_thread(partial(self._with_database, look_up))
        except DatabaseError as error:
            log.warning("could not look at the rows of %d generations: %s", len(generation_ids), error)
            return set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


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
