"""The metrics of generations that this process alone counts. Each is written where the change has been committed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Histogram

from workers.models import Generation, Status

# From a stage of a small picture on a fast device to one that counts as hanging.
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# Half of the usual longest wait of a client is a bound, because an alert asks for it. Asynchronous work may wait a day.
_WAIT_SECONDS: Final = (0.05, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 3600, 86400)

ENDED: Final = Counter(
    "zekron_generations_ended",
    "Generations that this process brought to their end, by outcome and error type.",
    labelnames=["model", "kind", "outcome", "error_type"],
)
CHARGED_MICROS: Final = Counter(
    "zekron_charged_micros",
    "Micro-dollars charged for the generations that this process completed.",
    labelnames=["model"],
)
WAIT_SECONDS: Final = Histogram(
    "zekron_wait_seconds",
    "Seconds from the acceptance of a generation to its first claim, by model and mode.",
    labelnames=["model", "mode"],
    buckets=_WAIT_SECONDS,
)
MAKE_SECONDS: Final = Histogram(
    "zekron_make_seconds",
    "Seconds of each stage of making: those of the engine for a batch, and the later ones for a generation.",
    labelnames=["model", "stage"],
    buckets=_SECONDS,
)
BATCH_SIZE: Final = Histogram(
    "zekron_batch_size", "Pictures in a denoised batch.", labelnames=["model"], buckets=(1, 2, 4, 8, 16, 32)
)


def count_end(generation: Generation, outcome: Status, error_type: str = "") -> None:
    """Count a generation whose end is committed."""
    ENDED.labels(generation.model, generation.kind, outcome.value, error_type).inc()


def count_completion(generation: Generation, cost_micros: int) -> None:
    """Count a generation whose completion is committed, and its charge."""
    count_end(generation, Status.COMPLETED)
    CHARGED_MICROS.labels(generation.model).inc(cost_micros)


def time_wait(generation: Generation, seconds: float) -> None:
    """Note that the generation was claimed for the first time, after so long a wait."""
    mode = "asynchronous" if generation.is_async else "synchronous"
    WAIT_SECONDS.labels(generation.model, mode).observe(seconds)


def note_engine_stage(model: str, stage: str, batch_size: int, seconds: float) -> None:
    """Note that a stage of the model's engine took this long for a batch of this size."""
    MAKE_SECONDS.labels(model, stage).observe(seconds)
    if stage == "denoise":
        BATCH_SIZE.labels(model).observe(batch_size)


@contextmanager
def time_stage(stage: str, *, model: str) -> Iterator[None]:
    """Time a stage of making that one generation takes, also if it fails."""
    with MAKE_SECONDS.labels(model, stage).time():
        yield
