"""The count and the time of each reply, taken where its status is sent, however long its client waited for it."""

import time
from types import TracebackType
from typing import Any, Final

from django.http import HttpRequest

from zekron_api.http import process_metrics
from zekron_api.waiting.request_body import Scope

# The route of requests that no view answers. Paths may hold tokens and are without bound.
NO_ROUTE: Final = "-"
# A client may send any method, and each would be a time series.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LEFT: Final = 499
_BROKEN: Final = 500
_KEY: Final = "zekron.route"


def route_of(request: HttpRequest) -> str:
    """Return the pattern of the request's path."""
    return request.resolver_match.route if request.resolver_match else NO_ROUTE


def note_route(scope: Scope, request: HttpRequest) -> None:
    """Note the route for the reply to the request of this scope."""
    scope[_KEY] = route_of(request)


class ObservedReply:
    """The sending side of one request. Leave it once nothing more is sent."""

    def __init__(self, scope: Scope, send: Any) -> None:
        self._scope = scope
        self._method = scope["method"] if scope["method"] in _METHODS else "other"
        self._send = send
        self._is_begun = False
        self._started_at = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        # The project's server is asked for its connection by the object whose method `send` is.
        return getattr(getattr(self._send, "__self__", None), name)

    def __enter__(self) -> "ObservedReply":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_begun:
            # The server itself answers an exception with 500.
            self._count(_BROKEN if isinstance(error, Exception) else _LEFT)

    async def send(self, message: dict[str, Any]) -> None:
        """Pass the message to the server, and count the reply with the first one."""
        if message["type"] == "http.response.start":
            self._count(message["status"])
        await self._send(message)

    def _count(self, status: int) -> None:
        self._is_begun = True
        route, seconds = self._scope.get(_KEY, NO_ROUTE), time.perf_counter() - self._started_at
        process_metrics.REQUESTS.labels(route, self._method, str(status)).inc()
        process_metrics.REQUEST_SECONDS.labels(route, self._method).observe(seconds)
