"""Answers that clients got: nobody sees an error of the server that the same request would not heal later."""

from collections.abc import Iterator
from typing import Final

from tests.chaos.client_log import ClientLog

# The types of a status of 500 and above whose order can still be brought to its end under its key.
HEALED: Final = {"service_busy", "service_unavailable", "generation_timeout", "queue_ttl_exceeded"}
# Ends of an order: an attempt failed for good and is free, its client cancelled it, or a fault spoilt its object.
FINAL: Final = {"generation_failed", "generation_cancelled", "image_unreachable"}
UNENDED: Final = {"", "out of patience"}


def problems(client_log: ClientLog) -> Iterator[str]:
    """Yield a line for each answer of another type, and for each order that its client asked for in vain."""
    for order in client_log.orders:
        for reply in order.replies:
            if reply.status >= 500 and reply.error_type not in HEALED | FINAL:
                yield f"order {order.number}: was answered {reply.status} {reply.error_type}"
        if order.ended in UNENDED:
            yield f"order {order.number}: never came to an end"
