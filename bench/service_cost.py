"""The processor time that a whole service takes for an image: all its processes, PostgreSQL and Redis counted."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from bench import processor_time
from bench.benchmark import Figure
from bench.clients import Ask, send_all
from bench.service import REQUESTS_AN_ACCOUNT

# The parts of each service.
PARTS: Final = ("web", "worker", "postgres", "redis")
CLIENTS: Final = 8
MILLISECONDS: Final = 1000


class PaidService(Protocol):
    """A running service that charges for images, ours or another one with the same API."""

    @property
    def port(self) -> int:
        """Return the port of its web process."""

    def issue_keys(self, requests: int) -> list[str]:
        """Return a key for each of the new accounts that this many requests in a minute need."""

    def read_processor_seconds(self) -> dict[str, dict[int, float]]:
        """Return the seconds so far of the processes of each part."""


class Creates(NamedTuple):
    """The requests of a round: their number, prompt and size, a reply's least length, and their path."""

    requests: int
    prompt: str
    size: str
    min_bytes: int
    path: str = "/v1/generate"


def measure_parts(service: PaidService, creates: Creates) -> dict[str, float]:
    """Send the requests, and return the milliseconds of an image in each part."""
    body = {"prompt": creates.prompt, "size": creates.size}
    # There are at least as many accounts as clients, so that none has too many open generations.
    keys = service.issue_keys(max(creates.requests, CLIENTS * REQUESTS_AN_ACCOUNT))
    asks = [Ask(creates.path, keys[number % len(keys)], body) for number in range(creates.requests)]
    before = service.read_processor_seconds()
    send_all(service.port, asks, at_once=CLIENTS, min_bytes=creates.min_bytes)
    after = service.read_processor_seconds()
    return {
        part: MILLISECONDS * processor_time.sum_between(before[part], after[part]) / creates.requests
        for part in after
    }


def label_parts(side: str, name: str, parts: dict[str, float]) -> dict[str, float]:
    """Return the figures of a side: their sum, and each part."""
    each = {f"{side} {part}, {name}": spent for part, spent in parts.items()}
    return {f"{side}, {name}": sum(parts.values()), **each}


def list_figures(side: str, name: str, parts: Sequence[str] = PARTS) -> Iterator[Figure]:
    """Yield the figures that `label_parts` fills."""
    for label in (f"{side}, {name}", *(f"{side} {part}, {name}" for part in parts)):
        yield Figure(name=label, unit=" ms")
