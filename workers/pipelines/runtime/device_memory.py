"""The metrics of a GPU's memory, as torch counts it without asking the device."""

from collections.abc import Callable
from functools import partial
from typing import Final

import torch

from workers.engine.device_metrics import GPU_MEMORY_BYTES

_READ: Final[dict[str, Callable[[torch.device], int]]] = {
    "allocated": torch.cuda.memory_allocated,
    "reserved": torch.cuda.memory_reserved,
}


def expose(target: torch.device) -> None:
    """Show the memory of this GPU from now on. It may be called twice."""
    for kind, read in _READ.items():
        GPU_MEMORY_BYTES.labels(str(target), kind).set_function(partial(read, target))
    # A scrape must not wait for a device that hangs, so the size is asked for once.
    total = torch.cuda.get_device_properties(target).total_memory
    GPU_MEMORY_BYTES.labels(str(target), "total").set(total)
