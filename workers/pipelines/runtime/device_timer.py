"""The time for which a device has worked.

A GPU measures it by its own events, because the host has gone on by then.
"""

import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import torch

# An interval is compared with this many others. If it overlaps an older one, the overlap counts twice.
MAX_KEPT_INTERVALS: Final = 64


class CoveredTime:
    """The seconds that intervals cover, each second once. Intervals are added nearly in the order of their ends."""

    def __init__(self) -> None:
        self._dropped_seconds = 0.0
        self._intervals: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        """Add an interval; both ends are in seconds of one clock."""
        apart = [kept for kept in self._intervals if kept[1] < start or kept[0] > end]
        for kept_start, kept_end in self._intervals:
            if kept_end >= start and kept_start <= end:
                start, end = min(start, kept_start), max(end, kept_end)
        insort(apart, (start, end))
        self._dropped_seconds += sum(last - first for first, last in apart[:-MAX_KEPT_INTERVALS])
        self._intervals = apart[-MAX_KEPT_INTERVALS:]

    @property
    def seconds(self) -> float:
        """Return how many seconds are covered in all."""
        return self._dropped_seconds + sum(end - start for start, end in self._intervals)


@dataclass(kw_only=True)
class _Stream:
    """A stream of a GPU: its last event with a known time, and the later work, which may not have ended."""

    event: torch.cuda.Event
    seconds: float
    pending: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = field(default_factory=deque)


class DeviceTimer:
    """The timer of a device's work in all threads; on a CPU, it counts the time of the calls."""

    def __init__(self, target: torch.device) -> None:
        self._target = target
        self._busy_time = CoveredTime()
        self._streams: dict[int, _Stream] = {}
        self._changing = threading.Lock()
        self._epoch = self._record_event() if target.type == "cuda" else None
        if self._epoch is not None:
            self._epoch.synchronize()

    @contextmanager
    def measure_work(self) -> Iterator[None]:
        """Count the work that the calls inside give the device, in the current stream."""
        start = time.monotonic() if self._epoch is None else self._record_event()
        try:
            yield
        finally:
            self._add(start)

    @property
    def seconds(self) -> float:
        """Return the seconds of all work that has ended."""
        with self._changing:
            # A lost device answers no more. The stage that has work for it raises DeviceLost.
            with suppress(RuntimeError):
                for stream in self._streams.values():
                    self._collect_finished(stream)
            return self._busy_time.seconds

    def _add(self, start: "float | torch.cuda.Event") -> None:
        if isinstance(start, float):
            with self._changing:
                self._busy_time.add(start, time.monotonic())
            return
        end, number = self._record_event(), torch.cuda.current_stream(self._target).cuda_stream
        with self._changing:
            if number not in self._streams:
                assert self._epoch is not None
                self._streams[number] = _Stream(event=self._epoch, seconds=0.0)
            self._streams[number].pending.append((start, end))
            self._collect_finished(self._streams[number])

    def _collect_finished(self, stream: _Stream) -> None:
        """Add finished work, timed from event to event, since a GPU measures short times more exactly."""
        while stream.pending and stream.pending[0][1].query():
            start, end = stream.pending.popleft()
            started = stream.seconds + stream.event.elapsed_time(start) / 1000
            stream.event, stream.seconds = end, started + start.elapsed_time(end) / 1000
            self._busy_time.add(started, stream.seconds)

    def _record_event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._target))
        return event
