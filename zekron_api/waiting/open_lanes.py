"""Threads for the requests that anyone may send and that take long or must not wait.

A burst of them takes no thread from the clients' requests, and the clients' requests take none from them.
"""

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

from django.db import connections

# The paths of health checks: a load balancer that waits for an answer would take the process out of service.
PROBES: Final = frozenset({"/healthz", "/readyz"})
# A login hashes a password for about half a second of processor time.
LOGIN: Final = "/admin/login/"


class OpenLanes:
    """One thread for health checks and one for logins."""

    def __init__(self) -> None:
        self._probes = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._logins = ThreadPoolExecutor(1, thread_name_prefix="login")

    def find(self, scope: dict[str, Any]) -> Executor | None:
        """Return the lane of a request, or None for a request of clients or staff."""
        if scope["path"] in PROBES:
            return self._probes
        if scope["path"] == LOGIN and scope["method"] == "POST":
            return self._logins
        return None

    def close(self) -> None:
        """Close the threads' database connections, and stop the threads."""
        for lane in (self._probes, self._logins):
            lane.submit(connections.close_all)
            lane.shutdown()
