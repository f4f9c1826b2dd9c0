"""Recycling of a worker: by its generations or its memory, once, and never by a limit that it starts with."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.engine.interface import Misconfigured
from workers.gpu_worker import recycling
from workers.gpu_worker.recycling import Recycling


@pytest.fixture
def stops() -> list[bool]:
    """Return the list in which each stop leaves an entry."""
    return []


@pytest.fixture
def recycle(stops: list[bool]) -> Callable[..., Recycling]:
    """Return a maker of recyclings that only note a stop, with 100 MiB in use."""

    def make(*, generations: int = 0, memory: int = 0, used: float = 100.0, share: float = 1.0) -> Recycling:
        return Recycling(
            max_generations=generations,
            max_memory_mib=memory,
            stop=lambda: stops.append(True),
            read_memory=lambda: used,
            draw=lambda least, most: share,
        )

    return make


def test_without_limits_a_worker_never_stops(recycle: Callable[..., Recycling], stops: list[bool]) -> None:
    recycle().stop_if_due(generation_count=10**9)
    assert stops == []


def test_a_worker_stops_once_after_its_generations_and_says_so_in_one_line(
    recycle: Callable[..., Recycling], stops: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    recycled = recycle(generations=10)
    for count in (0, 9, 10, 11):
        recycled.stop_if_due(generation_count=count)
    assert stops == [True]
    assert [record.getMessage() for record in caplog.records] == [
        "this worker stops, to be started anew: it has worked on 10 generations, of which 10 are enough"
    ]


@pytest.mark.parametrize(("share", "limit"), [(0.9, 900), (0.95, 950), (1.0, 1000)])
def test_workers_that_started_together_stop_apart(
    recycle: Callable[..., Recycling], stops: list[bool], share: float, limit: int
) -> None:
    recycled = recycle(generations=1000, share=share)
    recycled.stop_if_due(generation_count=limit - 1)
    assert stops == []
    recycled.stop_if_due(generation_count=limit)
    assert stops == [True]


@pytest.mark.parametrize(("limit", "is_over"), [(100, False), (99, True)])
def test_a_worker_stops_above_its_memory(
    recycle: Callable[..., Recycling], stops: list[bool], limit: int, is_over: bool
) -> None:
    recycle(memory=limit).stop_if_due(generation_count=0)
    assert stops == ([True] if is_over else [])


def test_a_limit_that_a_worker_exceeds_at_its_start_is_refused(recycle: Callable[..., Recycling]) -> None:
    recycle(memory=100).refuse_useless_limit()
    with pytest.raises(Misconfigured, match="99 MiB, and a worker with these models takes 100 MiB"):
        recycle(memory=99).refuse_useless_limit()


def test_a_system_without_proc_refuses_a_limit_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recycling, "_STATM", tmp_path / "statm")
    Recycling(max_generations=1, max_memory_mib=0).refuse_useless_limit()
    with pytest.raises(Misconfigured, match="needs a system with /proc"):
        Recycling(max_generations=0, max_memory_mib=1).refuse_useless_limit()


def test_the_memory_is_that_which_is_resident_now() -> None:
    before = recycling.read_memory_mib()
    held = bytearray(os.urandom(1) * 64 * recycling.MIB)
    grown = recycling.read_memory_mib() - before
    assert 48 < grown < 128, len(held)


def test_the_process_gets_the_signal_of_a_deployment() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        recycling.stop_process()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
