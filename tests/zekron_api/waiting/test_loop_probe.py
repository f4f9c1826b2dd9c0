"""The probe of an event loop: it answers for a loop that works, and for none that hangs or is closed."""

import asyncio
import threading

import pytest

from zekron_api.waiting import loop_probe
from zekron_api.waiting.loop_probe import LoopProbe


async def _watch(probe: LoopProbe) -> None:
    probe.set_running_loop()


def test_a_loop_that_works_is_alive_and_one_that_hangs_or_is_closed_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe, loop, gate = LoopProbe(), asyncio.new_event_loop(), threading.Event()
    assert probe.is_alive()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(_watch(probe), loop).result(timeout=10)
    assert probe.is_alive()
    monkeypatch.setattr(loop_probe, "ANSWER_SECONDS", 0.05)
    loop.call_soon_threadsafe(gate.wait)
    assert not probe.is_alive()
    gate.set()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert not probe.is_alive()
