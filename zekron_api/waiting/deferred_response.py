"""Responses that are built later: a view returns one instead of blocking a thread, and the server waits."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.http import HttpResponse

from workers import log_context
from workers.lifecycle import queries
from zekron_api.http import errors
from zekron_api.http.errors import ErrorReply

log = logging.getLogger(__name__)

# A server that can wait sets this attribute on its requests. Without the attribute the wait happens in the thread.
SUPPORTS_DEFERRAL: Final = "supports_deferral"
# These headers describe the deferred response's own empty body, not the final response.
_OWN_HEADERS: Final = frozenset({"content-type", "content-length"})


class DeferredResponse(HttpResponse):
    """A placeholder for a response of megabytes to an account, which is built once a slot is free.

    Middleware treats it like any response, and its headers reach the client. `build` may use the database, and an
    exception from it becomes the error envelope. One that is computed is small, and takes a processor to build.
    """

    def __init__(
        self,
        *,
        account_id: int,
        build: Callable[[], HttpResponse],
        status: int = 200,
        is_computed: bool = False,
    ) -> None:
        super().__init__(status=status)
        self.account_id = account_id
        self.is_computed = is_computed
        self._build = build
        # The place of the reply in the trace of what it shows, or an empty text.
        self.traceparent = ""
        # Middleware sets it for clients that read errors in another form.
        self.translate_error: Callable[[ErrorReply], ErrorReply] = lambda reply: reply

    def resolve(self) -> HttpResponse:
        """Build the final response, and add the headers and cookies that middleware set on this one."""
        try:
            reply = self._build()
        except Exception as error:  # noqa: BLE001 (every exception must become the error envelope)
            reply = self.translate_error(errors.reply_to(error))
        return with_headers_of(self, reply)

    def wait_in_place(self) -> HttpResponse:
        """Resolve in this thread, for servers and test clients without a waiting room."""
        return self.resolve()


def with_headers_of(response: HttpResponse, reply: HttpResponse) -> HttpResponse:
    """Add to the reply the headers and cookies that middleware set on the response in whose place it is sent."""
    for name, value in response.items():
        if name.lower() not in _OWN_HEADERS:
            reply.headers.setdefault(name, value)
    reply.cookies.update(response.cookies)
    # Without a length, a server would send the response in chunks.
    reply["Content-Length"] = str(len(reply.content))
    return reply


class PendingGenerationResponse(DeferredResponse):
    """A placeholder for the response to a request, until all its generations have ended or the deadline passes.

    `deadline` is in seconds on the monotonic clock. `build` makes the response from the rows. `on_lost` is called in a
    thread if the client leaves before its response is sent, or is told an error.
    """

    def __init__(
        self,
        *,
        account_id: int,
        generation_ids: Sequence[int],
        deadline: float,
        build: Callable[[], HttpResponse],
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(account_id=account_id, build=build, status=202)
        self.generation_ids = generation_ids
        self.deadline = deadline
        self.on_lost = on_lost
        self._deferred_at = time.monotonic()

    def resolve(self) -> HttpResponse:
        """Build the final response as in DeferredResponse, and log the time of waiting."""
        identifier = self.get("X-Request-Id", "-")
        with log_context.adding(request_id=identifier, account_id=self.account_id):
            reply = super().resolve()
            seconds, status = time.monotonic() - self._deferred_at, reply.status_code
            extra = {"status": status, "ms": round(seconds * 1000, 1)}
            log.info("%s waited for %.3f s, %d", identifier, seconds, status, extra=extra)
        return reply

    def wait_in_place(self, *, poll_seconds: float = 0.05) -> HttpResponse:
        """Wait in this thread for the end of the generations or the deadline, then resolve."""
        open_ids = set(self.generation_ids)
        while open_ids and time.monotonic() < self.deadline:
            open_ids -= queries.find_ended(generation_ids=open_ids)
            if open_ids:
                time.sleep(poll_seconds)
        return self.resolve()
