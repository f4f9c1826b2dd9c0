"""The metrics of this web process alone. The owner of a number writes it, or sets its function.

It stands below all of them, so that none knows another.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# From a health check to a client that waits for its image for as long as any setting allows.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

# A function of these two may be called in any thread.
WAITING_CLIENTS: Final = Gauge(
    "zekron_web_waiting_clients",
    "Clients of this web process that wait for the end of a generation, without streams.",
)
STREAMS: Final = Gauge("zekron_web_streams", "Open streams of events of this web process.")
REQUESTS: Final = Counter(
    "zekron_http_requests",
    "Requests whose reply began, by route, method and status. The status is 499 if the client left before.",
    labelnames=["route", "method", "status"],
)
REQUEST_SECONDS: Final = Histogram(
    "zekron_http_request_seconds",
    "Seconds from a request to the beginning of its reply, the wait for an image included.",
    labelnames=["route", "method"],
    buckets=_SECONDS,
)
REPLY_SECONDS: Final = Histogram(
    "zekron_reply_seconds",
    "Seconds to build and send a reply with an image, from the end of its wait.",
    buckets=_SECONDS,
)
REFUSED: Final = Counter(
    "zekron_refused",
    "Requests that were refused before anything was accepted, by error type.",
    labelnames=["reason"],
)
# The gauges that the web's own page of metrics has shown since before there was a page for each process.
OF_WEB: Final = ("zekron_web_waiting_clients", "zekron_web_streams")
