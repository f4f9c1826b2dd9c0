"""The times of the attempts of one delivery. Knows no row."""

import random
from collections.abc import Callable
from typing import Final

# The seconds before each attempt, 17.6 hours in all, so that no event tells of an image that is long deleted.
DELAYS_SECONDS: Final = (0, 5, 30, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
MAX_TRIES: Final = len(DELAYS_SECONDS)
# Each delay is longer by a random part of up to this, so that what failed together is not tried together.
MAX_JITTER: Final = 0.2
# A receiver may ask for this much time at most.
MAX_RETRY_AFTER_SECONDS: Final = 3600.0


def delay_seconds(
    *,
    tries_left: int,
    retry_after_seconds: float | None = None,
    chance: Callable[[], float] = random.random,
) -> float:
    """Return the seconds until the next attempt of a delivery that has this many tries left, at least one.

    A receiver's Retry-After prolongs the time, and never shortens it.
    """
    planned = DELAYS_SECONDS[MAX_TRIES - tries_left] * (1 + MAX_JITTER * chance())
    return max(planned, min(retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS))
