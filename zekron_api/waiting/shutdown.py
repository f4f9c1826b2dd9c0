"""The mark by which a connection tells its request that the server stops. It knows nothing of Django.

ASGI tells an application of the stop only after the last response, and a stream of events has no last one of its own.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

_KEY: Final = "zekron.is_shutting_down"


def mark(scope: MutableMapping[str, Any]) -> None:
    """Mark the request of this scope."""
    scope[_KEY] = True


def is_shutting_down(scope: Mapping[str, Any]) -> bool:
    """Return True once the server has begun to stop."""
    return scope.get(_KEY, False) is True
