"""A reply that is not there yet: a view returns `Parked` instead of waiting; whoever serves it waits."""

import logging
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpResponse

from workers import history
from zekron_api import errors

log = logging.getLogger(__name__)

# A server that waits by itself sets this attribute on its requests; for others the wait happens in the thread.
CAN_PARK: Final = "can_park"
# What belongs to the parked response's own empty body, and not to the reply.
_OWN_HEADERS: Final = frozenset({"content-type", "content-length"})


class Parked(HttpResponse):
    """Stands for the reply to a generation. Middleware treats it as any response; its headers reach the client.

    `deadline` is on the monotonic clock, in seconds. `resume` makes the reply from the row, when the generation
    has ended or the deadline is over; it may use the database, and what it raises becomes the error envelope.
    """

    def __init__(self, *, generation_id: int, deadline: float, resume: Callable[[], HttpResponse]) -> None:
        super().__init__(status=202)
        self.generation_id = generation_id
        self.deadline = deadline
        self._resume = resume
        self._parked_at = time.monotonic()

    def finish(self) -> HttpResponse:
        """The reply, under the headers and cookies that middleware put on this response."""
        try:
            reply = self._resume()
        except Exception as error:  # noqa: BLE001 (no exception may leave without the envelope)
            reply = errors.reply_to(error)
        waited_seconds = time.monotonic() - self._parked_at
        log.info("%s parked for %.3f s, %d", self.get("X-Request-Id", "-"), waited_seconds, reply.status_code)
        for name, value in self.items():
            if name.lower() not in _OWN_HEADERS:
                reply.headers.setdefault(name, value)
        reply.cookies.update(self.cookies)
        # Without a length, servers would cut the reply into chunks.
        reply["Content-Length"] = str(len(reply.content))
        return reply

    def wait_in_place(self, *, poll_seconds: float = 0.05) -> HttpResponse:
        """The reply, after waiting in this thread: for servers and test clients that have no waiting room."""
        while time.monotonic() < self.deadline and not history.ended_among(
            generation_ids=[self.generation_id]
        ):
            time.sleep(poll_seconds)
        return self.finish()
