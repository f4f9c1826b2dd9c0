"""The time for which a device has worked. A GPU is simulated by events that happen when a test says so."""

import time
from dataclasses import dataclass

import pytest
import torch

from workers.pipelines.runtime import device_timer
from workers.pipelines.runtime.device import Device
from workers.pipelines.runtime.device_timer import MAX_KEPT_INTERVALS, CoveredTime, DeviceTimer

CPU = torch.device("cpu")


def test_a_second_counts_once_however_much_work_is_in_it() -> None:
    covered = CoveredTime()
    for start, end in ((0.0, 1.0), (2.0, 3.0), (0.5, 2.5), (2.9, 3.5), (10.0, 10.5), (10.1, 10.2)):
        covered.add(start, end)
    assert covered.seconds == pytest.approx(3.5 + 0.5)


def test_an_interval_long_past_still_counts() -> None:
    covered = CoveredTime()
    for number in range(3 * MAX_KEPT_INTERVALS):
        covered.add(10.0 * number, 10.0 * number + 1)
    assert covered.seconds == 3 * MAX_KEPT_INTERVALS
    assert len(covered._intervals) == MAX_KEPT_INTERVALS


def test_a_cpu_works_as_long_as_the_calls_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    device = Device(CPU)
    now[0] += 5
    with device.measure_work():
        now[0] += 2
    now[0] += 5
    with pytest.raises(RuntimeError, match="in mid-work"), device.measure_work():
        _fail_after_a_second(now)
    assert device.busy_seconds == pytest.approx(3)


def _fail_after_a_second(now: list[float]) -> None:
    now[0] += 1
    raise RuntimeError("in mid-work")


@dataclass
class Event:
    """A GPU's event. It has happened once its time is known."""

    at: float | None = None

    def query(self) -> bool:
        return self.at is not None

    def elapsed_time(self, later: "Event") -> float:
        assert self.at is not None
        assert later.at is not None
        assert later.at >= self.at
        return 1000 * (later.at - self.at)


def test_a_gpu_worked_while_any_of_its_streams_did(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    stream = [1]
    gpu = DeviceTimer(CPU)
    gpu._epoch = Event(0.0)
    monkeypatch.setattr(gpu, "_record_event", lambda: events.append(Event()) or events[-1])
    monkeypatch.setattr(
        device_timer.torch.cuda,
        "current_stream",
        lambda _: type("Stream", (), {"cuda_stream": stream[0]}),
    )
    for number in (1, 2, 1, 2):
        stream[0] = number
        with gpu.measure_work():
            pass
    assert gpu.seconds == 0.0
    long, beside, later, last = events[0:2], events[2:4], events[4:6], events[6:8]
    beside[0].at, beside[1].at = 11.0, 12.5
    assert gpu.seconds == pytest.approx(1.5)
    long[0].at, long[1].at = 10.0, 12.0
    later[0].at = 20.0
    assert gpu.seconds == pytest.approx(2.5)
    later[1].at = 21.0
    assert gpu.seconds == pytest.approx(3.5)
    last[0].at, last[1].at = 20.5, 21.5
    assert gpu.seconds == pytest.approx(4.0)


def test_a_lost_gpu_keeps_the_time_that_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = DeviceTimer(CPU)
    with gpu.measure_work():
        pass

    def lost(_: object) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    gpu._streams[1] = device_timer._Stream(event=Event(0.0), seconds=0.0)
    monkeypatch.setattr(gpu, "_collect_finished", lost)
    assert gpu.seconds >= 0.0
