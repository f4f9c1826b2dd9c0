"""The event by which a connection tells its requests that the client has closed its sending side. No Django is needed.

TCP shows no difference between a client that closed its sending side and still reads, and one that is gone. ASGI has no
message for either. So a request goes on after it, and its reply is sent. But its client may have been lost.
"""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

_KEY: Final = "zekron.half_closed"


def set_event(scope: MutableMapping[str, Any], event: asyncio.Event) -> None:
    """Give the request of this scope the event of its connection."""
    scope[_KEY] = event


def event_of(scope: Mapping[str, Any]) -> asyncio.Event:
    """Return the event of the request's connection. Another server than ours never sets one."""
    event: asyncio.Event = scope.get(_KEY) or asyncio.Event()
    return event
