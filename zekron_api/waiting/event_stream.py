"""Server-sent events of generations: the response that a view returns, the frames, and one client's stream.

The format is that of the HTML standard, section 9.2. It knows no endpoint: the view passes a function that builds the
last event.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import orjson
from django.http import HttpResponse

from workers.lifecycle.watching import State
from workers.messaging.progress_events import Step
from workers.models import Status
from zekron_api.waiting.shutdown import is_shutting_down

# The time after which a client connects again, as the first line of a stream tells it.
RETRY_MILLISECONDS: Final = 2000
OPENING: Final = f"retry: {RETRY_MILLISECONDS}\n\n".encode()
# A comment, which clients ignore and which keeps proxies from closing the connection.
HEARTBEAT: Final = b": heartbeat\n\n"
# A server with a limit of streams sets this attribute on its requests: a function of an account's id, which returns
# whether the account may have one more stream.
HAS_STREAM_PLACE: Final = "has_stream_place"


class Event(NamedTuple):
    """An event: its name, the version of the row as its id, and its data as JSON, which has no line break.

    A stream that nobody takes up again has no versions.
    """

    name: str
    version: int | None
    data: bytes

    def encode(self) -> bytes:
        """Return the event as a stream has it, where a silent end is nothing."""
        if self is SILENT_END:
            return b""
        identifier = b"" if self.version is None else b"id: %d\n" % self.version
        return b"%sevent: %s\ndata: %s\n\n" % (identifier, self.name.encode(), self.data)


# The end of a generation of which its stream says nothing.
SILENT_END: Final = Event("", None, b"")


# Returns the last event of a generation, or None while it is open. It may use the database.
BuildEnd = Callable[[], Event | None]
# Returns the event of the partial image with this index, or None for a client that must not get it. It may use the
# database.
BuildPartial = Callable[[int], Event | None]


class Asker(NamedTuple):
    """The client whose request for a generation is answered by the generation's events.

    A server that stops waits for it until `stays_until` on the monotonic clock. `on_lost` is called in a thread if it
    does not get the last event.
    """

    stays_until: float
    on_lost: Callable[[], None] | None


class Watched(NamedTuple):
    """A generation whose events are streamed. `state` and `step` are the present ones.

    `build_partial` is for a generation that asks for at most `partial_count` partial images.
    """

    state: State
    step: Step | None
    build_end: BuildEnd
    partial_count: int = 0
    build_partial: BuildPartial = lambda _: None


class EventStreamResponse(HttpResponse):
    """A placeholder for a stream of the events of generations of an account, until all have ended.

    Middleware treats it like any response, and its headers reach the client. `asker` is the client that asked for the
    generations, if this is its reply.

    With `tells_progress` the stream tells states and steps, from the present ones on. `build_last` returns an event
    that follows the ends of all, or None.
    """

    def __init__(
        self,
        *,
        account_id: int,
        watched: Sequence[Watched],
        asker: Asker | None = None,
        tells_progress: bool = True,
        build_last: BuildEnd = lambda: None,
    ) -> None:
        super().__init__(content_type="text/event-stream")
        self["X-Accel-Buffering"] = "no"
        self.account_id = account_id
        self.watched = watched
        self.tells_progress = tells_progress
        self.build_last = build_last
        # It is too late to refuse the stream of a generation that its client asked for.
        self.is_admitted = asker is not None
        self.stays_until = asker.stays_until if asker else 0.0
        self.on_lost = asker.on_lost if asker else None

    def without_body(self) -> HttpResponse:
        """Return the response to HEAD: the headers of the stream, which has no length."""
        headers = {name: value for name, value in self.items() if name.lower() != "content-length"}
        return HttpResponse(status=self.status_code, headers=headers)

    def wait_in_place(self, *, poll_seconds: float = 0.05) -> HttpResponse:
        """Return the present states alone, for servers without a waiting room. Its client connects again for more.

        A stream that tells no progress has nothing else than the ends, and its thread waits for them.
        """
        if self.tells_progress:
            events = [event for each in self.watched for event in _present(each)]
            self.content = OPENING + b"".join(event.encode() for event in events)
            return self
        for each in self.watched:
            while (end := each.build_end()) is None and time.monotonic() < self.stays_until:
                time.sleep(poll_seconds)
            self.write((end or SILENT_END).encode())
        last = self.build_last()
        self.write(last.encode() if last else b"")
        return self


def _present(watched: Watched) -> list[Event]:
    end = None if watched.state.is_open else watched.build_end()
    return present_events(watched.state, watched.step) if end is None else [end]


def present_events(state: State, step: Step | None) -> list[Event]:
    """Return the events that tell the state of an open generation, and its step while it runs."""
    place = state.place
    data = {"status": state.status, "queue": place and place._asdict()}
    events = [Event("status", state.version, orjson.dumps(data))]
    if step is not None and state.status == Status.RUNNING:
        events.append(_progress(state.version, step))
    return events


class Stream:
    """One client that watches one generation. All methods run in the event loop, so no lock is needed.

    It keeps the latest state and step alone, so a client that does not read costs no memory.
    """

    def __init__(self, response: EventStreamResponse, watched: Watched, *, scope: dict[str, Any]) -> None:
        self.account_id = response.account_id
        self.generation_id = watched.state.generation_id
        self.build_end = watched.build_end
        self.build_partial = watched.build_partial
        self._scope = scope
        self._stays_until = response.stays_until
        self._state = watched.state
        self._step = watched.step
        self._tells_progress = response.tells_progress
        self._is_state_told = False
        self._partial_count = watched.partial_count
        self._partials_told: set[int] = set()
        # A client that comes late gets the partial images that are there.
        self._new_partials = (
            set(range(self._partial_count)) if self._state.status == Status.RUNNING else set()
        )
        # It is done when there is something to send.
        self.wake = asyncio.get_running_loop().create_future()

    @property
    def is_ended(self) -> bool:
        """Return True once the generation is known to have ended."""
        return not self._state.is_open

    @property
    def is_to_stop(self) -> bool:
        """Return True once the server stops and no longer waits for this stream."""
        return is_shutting_down(self._scope) and time.monotonic() >= self._stays_until

    def note_state(self, state: State) -> None:
        """Take note of the row's present state."""
        if state == self._state:
            return
        if state.status != Status.RUNNING:
            self._step = None
        self._state, self._is_state_told = state, False
        self.rouse()

    def note_step(self, step: Step) -> None:
        """Take note of a step. It is sent once the generation is known to run."""
        self._step = step
        if self._state.status == Status.RUNNING:
            self.rouse()

    def note_partial(self, index: int) -> None:
        """Take note of a new partial image."""
        if 0 <= index < self._partial_count:
            self._new_partials.add(index)
            self.rouse()

    def take_partial(self) -> int | None:
        """Return the index of the next partial image to read, and forget it; None if there is none.

        Each is sent once, also if it is announced again while it is read, or if another attempt makes it again.
        """
        self._new_partials -= self._partials_told
        if not self._new_partials:
            return None
        index = min(self._new_partials)
        self._new_partials.remove(index)
        return index

    def note_partial_told(self, index: int) -> None:
        """Take note that a partial image was sent."""
        self._partials_told.add(index)

    def rouse(self) -> None:
        """Let the stream look for something to send."""
        if not self.wake.done():
            self.wake.set_result(None)

    def take(self) -> bytes:
        """Return the frames that are to be sent, and forget them."""
        self.wake = asyncio.get_running_loop().create_future()
        if not self._tells_progress:
            return b""
        state, step = self._state, self._step
        events = [] if self._is_state_told else present_events(state, None)
        self._is_state_told = True
        if step is not None and state.status == Status.RUNNING:
            events.append(_progress(state.version, step))
            self._step = None
        return b"".join(event.encode() for event in events)


def _progress(version: int, step: Step) -> Event:
    data = {"step": step.done, "steps": step.total, "fraction": round(step.done / step.total, 4)}
    return Event("progress", version, orjson.dumps(data))
