"""The metrics of this web process alone. The owner of a number sets its function, and `/metrics` calls it.

It stands below both of them, so that neither knows the other.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

REGISTRY: Final = CollectorRegistry()
# A function of these may be called in any thread.
WAITING_CLIENTS: Final = Gauge(
    "zekron_web_waiting_clients",
    "Clients of this web process that wait for the end of a generation, without streams.",
    registry=REGISTRY,
)
STREAMS: Final = Gauge("zekron_web_streams", "Open streams of events of this web process.", registry=REGISTRY)
