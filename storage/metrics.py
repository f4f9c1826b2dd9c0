"""The metrics of the object store, as this process sees it."""

from typing import Final

from prometheus_client import Histogram

# A request to the store ends after about 20 seconds.
STORE_SECONDS: Final = Histogram(
    "zekron_store_seconds",
    "Seconds of each request to the object store, also of those that failed, by operation.",
    labelnames=["op"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
)
