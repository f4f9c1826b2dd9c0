"""Where training keeps its files, on which device it runs, and how exactly it reckons there."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from demo_model.config import Sizes

# First seeds of what is painted for each purpose, far enough apart that no picture serves two.
HELD_OUT_SEEDS = 0
VAE_SEEDS = 10_000_000
POOL_SEEDS = 20_000_000
JUDGE_SEEDS = 40_000_000

PIXELS_AT_ONCE = {"cpu": 2**20, "cuda": 2**24}


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A folder for checkpoints, a device, and the sizes of the networks."""

    folder: Path
    device: torch.device
    sizes: Sizes
    compiles: bool = False

    def kept(self, side: int) -> torch.Tensor:
        """Square pictures that the stage `paint` has painted already."""
        names = {512: "create-square", 1024: "create-large"}
        paths = sorted((self.folder / "painted").glob(f"*/{names.get(side, '-')}.*.pt"))
        none = torch.empty(0, 3, side, side, dtype=torch.uint8)
        return torch.cat([none, *(torch.load(path, weights_only=True)[0] for path in paths)])

    def pictures_at_once(self, width: int, height: int) -> int:
        """How many pictures are painted together: enough to keep the device busy, and few enough for its memory."""
        return max(1, PIXELS_AT_ONCE[self.device.type] // (width * height))

    def quicken(self, *networks: torch.nn.Module, is_of_many_shapes: bool = False) -> None:
        """Compiles networks, if that is wished: it takes a minute or more, and then steps take about half as long."""
        for network in networks if self.compiles else ():
            network.compile(dynamic=is_of_many_shapes or None)

    def reckoning(self) -> AbstractContextManager[Any]:
        """bfloat16 where a GPU is quick at it; float32 on a CPU, which is slow at anything else."""
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()
