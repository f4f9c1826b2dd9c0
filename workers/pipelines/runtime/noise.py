"""The noise that a picture begins with: torch's normal numbers on the CPU, as pipelines draw them for a seed."""

from collections.abc import Sequence
from functools import cache

import torch


def draw(shape: Sequence[int], *, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the normal noise that torch draws on the CPU for this shape, seed and dtype."""
    drawn = torch.float32 if _draws_in_single_precision(dtype) else dtype
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=drawn).to(dtype)


@cache
def _draws_in_single_precision(dtype: torch.dtype) -> bool:
    """Return True if torch's numbers of this dtype are those of single precision, rounded.

    Recent versions draw so, and single precision takes a third of the time. Older ones draw other numbers.
    """
    drawn, single = (
        torch.randn(4096, generator=torch.Generator().manual_seed(0), dtype=each)
        for each in (dtype, torch.float32)
    )
    return torch.equal(drawn, single.to(dtype))
