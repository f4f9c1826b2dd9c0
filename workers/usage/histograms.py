"""Histograms of durations with fixed bounds, so that the sums of hours give the quantiles of days and months."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

# The upper bounds of the buckets in seconds. One more bucket has what is longer. Rows of the database have counts in
# this order, so a change of it would mix up what is there.
BOUNDS_SECONDS: Final = (
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(
        10.0,
        15.0,
        20.0,
        30.0,
        45.0,
        60.0,
        90.0,
        120.0,
        180.0,
        300.0,
        600.0,
        1800.0,
        3600.0,
        14_400.0,
        86_400.0,
    ),
)
BUCKET_COUNT: Final = len(BOUNDS_SECONDS) + 1


def quantile(counts: Sequence[int], fraction: float) -> float | None:
    """Return the duration in seconds that this part of the durations does not exceed, or None without durations.

    Within a bucket the durations count as spread evenly. Those of the last bucket count as its lower bound.
    """
    rank = fraction * sum(counts)
    if not rank:
        return None
    below = 0
    for count, (lower, upper) in zip(counts, pairwise((0.0, *BOUNDS_SECONDS)), strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below += count
    return BOUNDS_SECONDS[-1]
