"""A started waiting room for a scenario."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.zekron_api.waiting.exchange import Serve
from zekron_api.waiting.asgi_handler import WaitingRoom

# Far longer than any takes.
SCENARIO_SECONDS = 120


@pytest.fixture
def served() -> Serve:
    """Return a function that runs a scenario against a started waiting room, and stops it as a server does."""

    def serve(scenario: Callable[[WaitingRoom], Awaitable[None]]) -> None:
        async def run() -> None:
            app = WaitingRoom()
            incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            life = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))
            incoming.put_nowait({"type": "lifespan.startup"})
            assert (await outgoing.get())["type"] == "lifespan.startup.complete"
            try:
                # What waits for something that never comes is told so.
                async with asyncio.timeout(SCENARIO_SECONDS):
                    await scenario(app)
            finally:
                incoming.put_nowait({"type": "lifespan.shutdown"})
                await life

        asyncio.run(run())

    return serve
