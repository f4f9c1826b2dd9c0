"""The clients of this web process that watch generations, without a thread or a database connection for each.

One query reads the rows of all of them every second. Their steps and their ends come over Redis.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final

from workers.lifecycle.watching import State
from workers.messaging import progress_events
from workers.messaging.progress_events import NewPartial
from zekron_api.http.errors import TooManyStreams
from zekron_api.waiting import futures, sending
from zekron_api.waiting.completion_waiters import CompletionWaiters
from zekron_api.waiting.event_stream import HEARTBEAT, OPENING, BuildEnd, Event, EventStreamResponse, Stream

log = logging.getLogger(__name__)

# A client is told of a change of its row at most this often.
LOOK_SECONDS: Final = 1.0
# The looks take at most this part of the time, however many clients watch. A pause is not longer than this.
MAX_LOOK_FRACTION: Final = 0.1
MAX_PAUSE_SECONDS: Final = 5.0
# Proxies close a connection that is silent for a minute.
HEARTBEAT_SECONDS: Final = 15.0
# An account has at most this many streams in one web process.
MAX_STREAMS_PER_ACCOUNT: Final = 10

ReadStates = Callable[[Collection[int]], Awaitable[list[State]]]
# Builds an event of an account's generation in a thread, once a slot for a large reply is free.
Build = Callable[[int, BuildEnd], Awaitable[Event | None]]


class EventStreams:
    """The open streams. All methods run in the event loop, so no lock is needed."""

    def __init__(self, *, waiters: CompletionWaiters, read_states: ReadStates, build: Build) -> None:
        self._waiters = waiters
        self._read_states = read_states
        self._build = build
        self._streams: dict[int, set[Stream]] = {}
        self._count = self._watched_count = 0
        self._count_by_account: Counter[int] = Counter()

    def __len__(self) -> int:
        """Return the number of open streams. Any thread may call this."""
        return self._count

    @property
    def watched_count(self) -> int:
        """Return the number of generations that are watched, those of two streams twice. Any thread may call this."""
        return self._watched_count

    async def serve(
        self, response: EventStreamResponse, *, scope: dict[str, Any], receive: Any, send: Any
    ) -> bool:
        """Send the events of the generations until they end, the client leaves or the server stops.

        Return whether the server has taken the last event. Raise TooManyStreams before anything is sent.
        """
        is_end_sent = False
        streams, started = self._add(response, scope), time.monotonic()
        left = asyncio.ensure_future(receive())
        ended = [self._waiters.add(stream.generation_id) for stream in streams]
        try:
            await _send(send, sending.start_without_length(response), 0)
            if response.tells_progress:
                await _send_body(send, OPENING)
            runs = [
                self._run(stream, left=left, ended=each, send=send)
                for stream, each in zip(streams, ended, strict=True)
            ]
            is_end_sent = all(await futures.run_all(runs))
            # A server that stops tells the error, too, because no client takes up such a stream again.
            if not left.done() and (last := await self._build(response.account_id, response.build_last)):
                await _send_body(send, last.encode())
            await _send(send, {"type": "http.response.body", "body": b""}, 0)
            is_end_sent = is_end_sent and not sending.is_disconnected(send)
        except TimeoutError:
            is_end_sent = False
            log.info("A client read its events too slowly and was cut off.")
            await sending.cut_off(send)
        except OSError:
            is_end_sent = False
            log.info("A client left before its events were sent.")
        finally:
            self._remove(response.account_id, streams)
            for stream, each in zip(streams, ended, strict=True):
                self._waiters.remove(stream.generation_id, each)
            left.cancel()
        seconds = time.monotonic() - started
        log.info("%s streamed events for %.3f s", response.get("X-Request-Id", "-"), seconds)
        return is_end_sent

    def has_place(self, account_id: int) -> bool:
        """Return whether the account may have one more stream. Any thread may call this."""
        return self._count_by_account[account_id] < MAX_STREAMS_PER_ACCOUNT

    def note_progress(self, message: bytes) -> None:
        """Take note of the news in a message of a worker. Raise ValueError for a message of another form."""
        for generation_id, news in progress_events.parse(message).items():
            for stream in self._streams.get(generation_id, ()):
                if isinstance(news, NewPartial):
                    stream.note_partial(news.number)
                else:
                    stream.note_step(news)

    async def watch(self) -> None:
        """Read the rows of all watched generations every second, until cancelled."""
        pause_seconds = LOOK_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            started = time.monotonic()
            await self._look()
            seconds = time.monotonic() - started
            pause_seconds = max(LOOK_SECONDS - seconds, min(seconds / MAX_LOOK_FRACTION, MAX_PAUSE_SECONDS))

    async def _look(self) -> None:
        self._end_for_shutdown()
        if not self._streams:
            return
        for state in await self._read_states(list(self._streams)):
            for stream in self._streams.get(state.generation_id, ()):
                stream.note_state(state)

    def _end_for_shutdown(self) -> None:
        for streams in self._streams.values():
            for stream in streams:
                if stream.is_to_stop:
                    stream.rouse()

    async def _run(
        self,
        stream: Stream,
        *,
        left: "asyncio.Future[Any]",
        ended: "asyncio.Future[None]",
        send: Any,
    ) -> bool:
        """Send events as they come. Return True after the last one, and False if there is nobody to send it to."""
        is_end_heard = False
        while not left.done() and not stream.is_to_stop:
            if stream.is_ended or (ended.done() and not is_end_heard):
                # An end that only a message tells may be an invention, and the row decides.
                is_end_heard = True
                end = await self._build(stream.account_id, stream.build_end)
                if end is not None:
                    await _send_body(send, end.encode())
                    return True
                if stream.is_ended:
                    # The database is away. The next look decides.
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
            frames = stream.take()
            if frames:
                await _send_body(send, frames)
            while (index := stream.take_partial()) is not None and not left.done():
                event = await self._build(stream.account_id, partial(stream.build_partial, index))
                if event is not None:
                    stream.note_partial_told(index)
                    await _send_body(send, event.encode())
            awaited = {left, stream.wake} if is_end_heard else {left, stream.wake, ended}
            done, _ = await asyncio.wait(
                awaited, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                await _send_body(send, HEARTBEAT)
        return False

    def _add(self, response: EventStreamResponse, scope: dict[str, Any]) -> list[Stream]:
        if not response.is_admitted and not self.has_place(response.account_id):
            raise TooManyStreams
        streams = [Stream(response, watched, scope=scope) for watched in response.watched]
        self._count += 1
        self._watched_count += len(streams)
        self._count_by_account[response.account_id] += 1
        for stream in streams:
            self._streams.setdefault(stream.generation_id, set()).add(stream)
        return streams

    def _remove(self, account_id: int, removed: list[Stream]) -> None:
        self._count -= 1
        self._watched_count -= len(removed)
        self._count_by_account[account_id] -= 1
        if not self._count_by_account[account_id]:
            del self._count_by_account[account_id]
        for stream in removed:
            streams = self._streams[stream.generation_id]
            streams.discard(stream)
            if not streams:
                del self._streams[stream.generation_id]


async def _send_body(send: Any, body: bytes) -> None:
    if body:
        await _send(send, {"type": "http.response.body", "body": body, "more_body": True}, len(body))


async def _send(send: Any, message: dict[str, Any], byte_count: int) -> None:
    """Send a message. Raise TimeoutError when the client does not read."""
    async with asyncio.timeout(sending.limit_seconds(byte_count)):
        await send(message)
