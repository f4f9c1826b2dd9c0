"""Responses of any length that are sent page by page, as fast as the client reads.

No thread and no database connection is held between two pages, and one page is in memory at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from django.http import HttpResponse

from zekron_api.http import errors
from zekron_api.waiting import sending
from zekron_api.waiting.shutdown import is_shutting_down

log = logging.getLogger(__name__)


class PagedResponse(HttpResponse):
    """A placeholder for a response to an account whose content comes in pages.

    Middleware treats it like any response, and its headers reach the client. The iterator may use the database, but it
    must not leave a transaction open between two pages.
    """

    def __init__(self, *, account_id: int, pages: Iterator[bytes], content_type: str) -> None:
        super().__init__(content_type=content_type)
        self["X-Accel-Buffering"] = "no"
        self.account_id = account_id
        self._pages = pages

    def read_page(self) -> bytes | None:
        """Return the next page that is not empty, or None at the end."""
        return next((page for page in self._pages if page), None)

    def without_body(self) -> HttpResponse:
        """Return the response to HEAD: the headers, without a length that nobody knows."""
        headers = {name: value for name, value in self.items() if name.lower() != "content-length"}
        return HttpResponse(status=self.status_code, headers=headers)

    def wait_in_place(self) -> HttpResponse:
        """Return the whole content, for servers and test clients without a waiting room."""
        try:
            self.content = b"".join(self._pages)
        except Exception as error:  # noqa: BLE001 (every exception must become the error envelope)
            return errors.reply_to(error)
        return self


async def serve(
    response: PagedResponse,
    *,
    scope: dict[str, Any],
    send: Any,
    slot: Callable[[], AbstractAsyncContextManager[None]],
    read_page: Callable[[], Awaitable[bytes | None]],
) -> HttpResponse | None:
    """Send all pages, each in a slot. Return the reply to send instead if the first page cannot be read.

    Later the connection is cut off, so that the client knows that something is missing.
    """
    is_started = False
    try:
        while not sending.is_disconnected(send):
            async with slot():
                try:
                    page = await read_page()
                except Exception as error:  # noqa: BLE001 (every exception must become the error envelope)
                    reply = errors.reply_to(error)
                    if not is_started:
                        return reply
                    break
                if not is_started:
                    is_started = True
                    await _send(send, sending.start_without_length(response))
                await _send(
                    send, {"type": "http.response.body", "body": page or b"", "more_body": page is not None}
                )
            if page is None:
                return None
            if is_shutting_down(scope):
                break
        await sending.cut_off(send)
    except TimeoutError:
        log.info("A client read its pages too slowly and was cut off.")
        await sending.cut_off(send)
    except OSError:
        log.info("A client left before its pages were sent.")
    return None


async def _send(send: Any, message: dict[str, Any]) -> None:
    """Send a message. Raise TimeoutError when the client does not read."""
    async with asyncio.timeout(sending.limit_seconds(len(message.get("body", b"")))):
        await send(message)
