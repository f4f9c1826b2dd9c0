"""Demand for models that no live worker has: the images that were refused of late, counted in Redis.

An autoscaler sees by it that a model without a worker is wanted, although nothing waits in the queue.
"""

import time
from collections import Counter
from typing import Final

from workers.messaging import redis_client

# Images are counted in slots of this length, and remembered for this many slots before the present one.
SLOT_SECONDS: Final = 30
SLOT_COUNT: Final = 4
_KEY: Final = "zekron:demand:"


def note(*, model_name: str, image_count: int, now: float | None = None) -> None:
    """Count images that were refused because no live worker has the model. Raise RedisUnavailable.

    A client that asks again counts again.
    """
    key = f"{_KEY}{_slot(now)}"
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        pipe.hincrby(key, model_name, image_count)
        pipe.expire(key, SLOT_SECONDS * (SLOT_COUNT + 1))
        pipe.execute()


def read(*, now: float | None = None) -> dict[str, int]:
    """Return the number of images by model that were refused in the last two minutes. Raise RedisUnavailable."""
    present = _slot(now)
    with (
        redis_client.connection_or_unavailable() as connection,
        connection.pipeline(transaction=False) as pipe,
    ):
        for slot in range(present - SLOT_COUNT, present + 1):
            pipe.hgetall(f"{_KEY}{slot}")
        counted = pipe.execute()
    total = Counter[str]()
    for slot_counts in counted:
        total.update({name.decode(): int(count) for name, count in slot_counts.items()})
    return dict(total)


def _slot(now: float | None) -> int:
    return int((time.time() if now is None else now) // SLOT_SECONDS)
