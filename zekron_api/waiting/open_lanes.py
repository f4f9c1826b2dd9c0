"""Threads for the requests that take long or must not wait, and for those that anyone may send.

A burst of them takes no thread from the clients' requests, and the clients' requests take none from them.
"""

from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Barrier
from typing import Any, Final

from django.db import connections

# The paths of health checks: a load balancer that waits for an answer would take the process out of service.
PROBES: Final = frozenset({"/healthz", "/readyz"})
# A login hashes a password for about half a second of processor time, and so do other forms below these paths.
LOGINS: Final = ("/me/", "/invitations/")
# An order by card waits for Stripe, for a second or, with a retry, for twenty.
TOP_UPS: Final = "/v1/top-ups"
# An event of Stripe may have to ask Stripe for the order of a payment.
EVENTS: Final = "/stripe/webhook"
# The lanes of requests other than health checks, which have one whatever their method, and the threads of each lane.
_BY_REQUEST: Final = {
    ("POST", TOP_UPS): "top-up",
    ("POST", EVENTS): "event",
}
_THREAD_COUNTS: Final = {"probe": 1, "login": 1, "top-up": 2, "event": 1}


class OpenLanes:
    """One thread for health checks, one for logins, two for orders by card and one for events of Stripe."""

    def __init__(self) -> None:
        self._lanes = {
            name: ThreadPoolExecutor(count, thread_name_prefix=name) for name, count in _THREAD_COUNTS.items()
        }

    def find(self, scope: dict[str, Any]) -> Executor | None:
        """Return the lane of a request, or None for any other request of clients or staff."""
        name = _name(scope["method"], scope["path"])
        return None if name is None else self._lanes[name]

    def close(self) -> None:
        """Close the threads' database connections, and stop the threads."""
        for name, lane in self._lanes.items():
            close_threads(lane, thread_count=_THREAD_COUNTS[name])


def _name(method: str, path: str) -> str | None:
    if path in PROBES:
        return "probe"
    if method == "POST" and path.startswith(LOGINS):
        return "login"
    return _BY_REQUEST.get((method, path))


def close_threads(pool: ThreadPoolExecutor, *, thread_count: int) -> None:
    """Close the database connection of every thread of the pool, then stop the threads.

    The threads meet at a barrier, so that each thread closes its own connection exactly once.
    """
    together = Barrier(thread_count)

    def close() -> None:
        together.wait()
        connections.close_all()

    for _ in range(thread_count):
        pool.submit(close)
    pool.shutdown()
