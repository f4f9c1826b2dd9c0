"""The measured device time of batches, and the batch size that pays. Knows no engine and no clock."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from cachetools import LRUCache

# The weight of one measurement in the moving average.
WEIGHT: Final = 0.2
# A batch must save this share of the device time of single orders. With less, it would only delay its first order.
MIN_GAIN: Final = 0.05
# After so many decisions for a single order, a larger batch is tried again, because a device can change.
RETRY_AFTER: Final = 64
# Sources of free sizes make many keys.
MAX_KEYS: Final = 256


@dataclass
class _Costs:
    # Device seconds for one order of a batch, by the batch's size.
    seconds_by_size: dict[int, float] = field(default_factory=dict)
    single_decisions: int = 0


class BatchCosts:
    """The cost of an order for the device, alone and in company, by batch key. Not for several threads at once."""

    def __init__(self) -> None:
        self._costs: LRUCache[Hashable, _Costs] = LRUCache(MAX_KEYS)

    def add(self, key: Hashable, *, size: int, seconds: float) -> None:
        """Add a measured batch of this many orders that took the device so many seconds in all."""
        known = self._costs.setdefault(key, _Costs()).seconds_by_size
        each = seconds / size
        known[size] = each if size not in known else known[size] + (each - known[size]) * WEIGHT

    def choose_size(self, key: Hashable, *, available: int) -> int:
        """Return how many of the compatible orders to make together.

        Sizes without a measurement are tried first: the largest, and then one. After that a batch must be worth it.
        """
        costs = self._costs.setdefault(key, _Costs())
        known = costs.seconds_by_size
        if available == 1 or available not in known:
            return available
        if 1 not in known:
            return 1
        best = min((size for size in known if size <= available), key=known.__getitem__)
        if known[best] <= known[1] * (1 - MIN_GAIN):
            return best
        costs.single_decisions += 1
        return 1 if costs.single_decisions % RETRY_AFTER else available

    def is_worth_waiting(self, key: Hashable) -> bool:
        """Return whether company for an order of this key would save device time, as far as is known."""
        known = self._costs.get(key, _Costs()).seconds_by_size
        if 1 not in known or len(known) == 1:
            return True
        return min(known.values()) <= known[1] * (1 - MIN_GAIN)
