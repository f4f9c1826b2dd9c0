"""Serves Django's synchronous views to thousands of waiting clients from a few threads.

Views run in `THREAD_COUNT` threads as they would under WSGI, each thread with its own database connection. A view
that has to wait returns `Parked`, and the wait happens here: in the event loop, without a thread or a connection.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Barrier
from typing import Any, Final, TypeVar, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import set_script_prefix

from workers import history
from zekron_api import errors
from zekron_api.parked import CAN_PARK, Parked
from zekron_api.waiters import Waiters

log = logging.getLogger(__name__)

# Views are short; more threads than this only queue for the interpreter's lock.
THREAD_COUNT: Final = 8

Scope = dict[str, Any]
Receive = Any
Send = Any
T = TypeVar("T")


class WaitingRoom(ASGIHandler):
    """The ASGI application: Django's own handler, but synchronous inside, and patient outside."""

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
            body_file = await self.read_body(receive)
        except RequestAborted:
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
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._close_threads)
        await send({"type": "lifespan.shutdown.complete"})

    async def read_body(self, receive: Receive) -> tempfile.SpooledTemporaryFile[bytes]:
        """The body in a file, cut one byte past the limit: enough for the parser to refuse it, in its turn."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
        body_file = tempfile.SpooledTemporaryFile(max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE, mode="w+b")  # noqa: SIM115
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                body_file.close()
                raise RequestAborted
            body_file.write(message.get("body", b"")[: limit - body_file.tell()])
            more = message.get("more_body", False)
        body_file.seek(0)
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
            response = self.get_response(request)
            whole = _collected(response) if isinstance(response, StreamingHttpResponse) else response
            response.close()
        return cast(HttpResponse, whole)

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


def _collected(response: StreamingHttpResponse) -> HttpResponse:
    """A small file of the admin, whole: a thread must not be held while a slow client reads."""
    whole = HttpResponse(response.getvalue(), status=response.status_code, headers=dict(response.items()))
    whole.cookies = response.cookies
    return whole


def _report(task: "asyncio.Task[None]") -> None:
    """A listener that dies must not die unheard: clients would then wait for the poll or their deadline."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("the waiting room no longer hears of ends", exc_info=error)
