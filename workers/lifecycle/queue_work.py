"""Predicted seconds of work for each model, by which an autoscaler chooses the number of workers. It only reads."""

from collections.abc import Mapping, Sequence
from typing import Final

from storage.postgresql import plain_sql
from workers.catalogue import catalogue
from workers.lifecycle.admission import FIRST_GUESS_SECONDS
from workers.messaging import demand, worker_registry
from workers.messaging.counters import MAX_COUNTED_ROWS
from workers.messaging.worker_registry import Worker

_OPEN_BY_MODEL: Final = f"""
SELECT model, count(*) FROM (
    SELECT model FROM workers_generation WHERE status IN ('queued', 'running') LIMIT {MAX_COUNTED_ROWS}
) AS open GROUP BY model
"""  # noqa: S608 (only a constant is inserted)


def predict_seconds() -> dict[str, float]:
    """Return the seconds of one worker's time that each model's open and lately refused images take.

    Raise RedisUnavailable or DatabaseError.
    """
    workers, last_speeds, refused = (
        worker_registry.list_alive(),
        worker_registry.read_last_speeds(),
        demand.read(),
    )
    open_counts = dict(plain_sql.execute(_OPEN_BY_MODEL, {}))
    return {
        name: (open_counts.get(name, 0) + refused.get(name, 0)) * _seconds_of(name, workers, last_speeds)
        for name in catalogue()
    }


def _seconds_of(model_name: str, workers: Sequence[Worker], last_speeds: Mapping[str, float]) -> float:
    """Return the mean seconds per image of the live workers, else those of the last worker, else a first guess."""
    able = (worker.seconds_of(model_name) for worker in workers if worker.makes(model_name))
    if known := [seconds for seconds in able if seconds is not None]:
        return sum(known) / len(known)
    return last_speeds.get(model_name, FIRST_GUESS_SECONDS)
