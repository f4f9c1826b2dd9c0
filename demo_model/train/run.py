"""Training run: the folder of its files, its device, and its precision."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from demo_model.config import NetworkSizes

# Each purpose has a first seed. They are far enough apart that no picture serves two purposes.
HELD_OUT_FIRST_SEED: Final = 0
AUTOENCODER_FIRST_SEED: Final = 10_000_000
DATASET_FIRST_SEED: Final = 20_000_000
CLASSIFIER_FIRST_SEED: Final = 40_000_000

MAX_BATCH_PIXELS: Final = {"cpu": 2**20, "cuda": 2**24}


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A folder for checkpoints, a device, and the sizes of the networks."""

    folder: Path
    device: torch.device
    sizes: NetworkSizes
    is_compiling: bool = False
    # A processor is slow at bfloat16, unless it multiplies matrices of it (AMX).
    is_bfloat16: bool = False

    def load_prepainted(self, side: int) -> torch.Tensor:
        """Load the square pictures of this side that the stage `paint` has painted."""
        names = {512: "create-square", 1024: "create-large"}
        paths = sorted((self.folder / "painted").glob(f"*/{names.get(side, '-')}.*.pt"))
        none = torch.empty(0, 3, side, side, dtype=torch.uint8)
        return torch.cat([none, *(torch.load(path, weights_only=True)[0] for path in paths)])

    def choose_batch_size(self, width: int, height: int) -> int:
        """Return the number of pictures to paint at once, which fits the device's memory."""
        return max(1, MAX_BATCH_PIXELS[self.device.type] // (width * height))

    def compile_networks(self, *networks: torch.nn.Module, has_many_shapes: bool = False) -> None:
        """Compile networks if the run asks for it.

        Compiling takes a minute or more, and then a step takes about half as long.
        """
        for network in networks if self.is_compiling else ():
            network.compile(dynamic=has_many_shapes or None)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context of bfloat16 on a GPU and where the run asks for it, else of float32."""
        if self.device.type == "cuda" or self.is_bfloat16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()
