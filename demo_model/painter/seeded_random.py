"""Random numbers that depend only on a seed and a name.

A scene's numbers stay the same, whatever else the scene holds.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Seeds = NDArray[np.uint64]


def draw_uniform(seeds_B: Seeds, name: str, count: int) -> Floats:
    """Draw `count` numbers in [0, 1) for each seed, of shape (B, count).

    The method is SplitMix64 (Steele et al., OOPSLA 2014).
    """
    steps = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(crc32(name.encode())) << np.uint64(16))
    state = _mix(seeds_B)[:, None] + steps * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(state) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


def _mix(state: Seeds) -> Seeds:
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
