"""The measurement of the stages in which a picture is made: as metrics, and as spans of its trace."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workers import metrics, tracing
from workers.engine.interface import ImageOrder
from workers.models import Generation


@contextmanager
def measure(stage: str, *, generation: Generation) -> Iterator[None]:
    """Measure a stage that one generation takes, also if it fails."""
    with (
        metrics.time_stage(stage, model=generation.model),
        tracing.span(stage, parent=generation.traceparent, generation_id=generation.pk),
    ):
        yield


def note_engine_stage(model: str, stage: str, orders: Sequence[ImageOrder], seconds: float) -> None:
    """Note that a stage of the model's engine took this long until now, for a batch of orders.

    The batch has one span. It is in the trace of the first order, with a link to each.
    """
    metrics.note_engine_stage(model, stage, len(orders), seconds)
    if traced := [order.traceparent for order in orders if order.traceparent]:
        now = time.time()
        tracing.record(
            stage,
            parent=traced[0],
            started_at=now - seconds,
            ended_at=now,
            links=traced,
            model=model,
            batch_size=len(orders),
        )
