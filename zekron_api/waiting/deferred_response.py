"""Replies that are not there yet: a view returns one instead of holding a thread; whoever serves it waits."""

import logging
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpResponse

from workers.lifecycle import queries
from zekron_api.http import errors

log = logging.getLogger(__name__)

# A server that waits by itself sets this attribute on its requests; for others the wait happens in the thread.
SUPPORTS_DEFERRAL: Final = "can_park"
# What belongs to the deferred response's own empty body, and not to the reply.
_OWN_HEADERS: Final = frozenset({"content-type", "content-length"})


class DeferredResponse(HttpResponse):
    """Stands for a reply of megabytes to an account, which is made once there is room for it. Middleware treats it as
    any response; its headers reach the client. `resume` may use the database, and what it raises becomes the error
    envelope.
    """

    def __init__(self, *, account_id: int, build: Callable[[], HttpResponse], status: int = 200) -> None:
        super().__init__(status=status)
        self.account_id = account_id
        self._build = build

    def resolve(self) -> HttpResponse:
        """The reply, under the headers and cookies that middleware put on this response."""
        try:
            reply = self._build()
        except Exception as error:  # noqa: BLE001 (no exception may leave without the envelope)
            reply = errors.reply_to(error)
        for name, value in self.items():
            if name.lower() not in _OWN_HEADERS:
                reply.headers.setdefault(name, value)
        reply.cookies.update(self.cookies)
        # Without a length, servers would cut the reply into chunks.
        reply["Content-Length"] = str(len(reply.content))
        return reply

    def wait_in_place(self) -> HttpResponse:
        """The reply, made in this thread: for servers and test clients that have no waiting room."""
        return self.resolve()


class PendingGenerationResponse(DeferredResponse):
    """Stands for the reply to a generation, until that has ended or the deadline is over, which is on the monotonic
    clock, in seconds. `resume` makes the reply from the row.
    """

    def __init__(
        self, *, account_id: int, generation_id: int, deadline: float, build: Callable[[], HttpResponse]
    ) -> None:
        super().__init__(account_id=account_id, build=build, status=202)
        self.generation_id = generation_id
        self.deadline = deadline
        self._deferred_at = time.monotonic()

    def resolve(self) -> HttpResponse:
        """The reply, as of any that was deferred."""
        reply = super().resolve()
        waited_seconds = time.monotonic() - self._deferred_at
        log.info("%s parked for %.3f s, %d", self.get("X-Request-Id", "-"), waited_seconds, reply.status_code)
        return reply

    def wait_in_place(self, *, poll_seconds: float = 0.05) -> HttpResponse:
        """The reply, after waiting in this thread."""
        while time.monotonic() < self.deadline and not queries.ended_among(
            generation_ids=[self.generation_id]
        ):
            time.sleep(poll_seconds)
        return self.resolve()
