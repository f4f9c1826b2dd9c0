"""The things that all measurements share: the device, the engines on it, and the operations of a picture."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.contenders import Orders, Ours, Stock, Tuned
from bench.gpu.machine import Machine
from bench.gpu.models import Scale


@dataclass(kw_only=True)
class Context:
    """The shared state of a run. `flop_rate` is the latest measurement."""

    machine: Machine
    scale: Scale
    orders: Orders
    stock: Stock
    ours: Ours
    flop_rate: float = 0.0
    # The counted floating-point operations of one create, by side in pixels and by stage.
    operations: dict[int, dict[str, float]] = field(default_factory=dict)

    _tuned: Tuned | None = None

    @property
    def tuned(self) -> Tuned:
        """Return the tuned pipeline, made at its first use because compiling it takes minutes."""
        if self._tuned is None:
            self._tuned = Tuned(self.scale, self.machine)
        return self._tuned

    def count_operations(self) -> None:
        """Count the operations of each stage. Call it before compiling, or torch does not see them all."""
        for side in (self.scale.large, self.scale.little):
            engine = self.ours.engine
            counted = {}
            with FlopCounterMode(display=False) as counter:
                prepared = engine.prepare(self.orders(side))
            counted["text"] = float(counter.get_total_flops())
            with FlopCounterMode(display=False) as counter:
                denoised = self.ours.denoise(prepared)
            counted["denoise"] = float(counter.get_total_flops())
            with FlopCounterMode(display=False) as counter:
                engine.decode(denoised)
            counted["decode"] = float(counter.get_total_flops())
            self.operations[side] = counted

    def compute_floor_seconds(self, side: int) -> float:
        """Return the least seconds of one create, at the latest rate of matrix products."""
        return sum(self.operations[side].values()) / self.flop_rate

    def measure_differences(self, side: int, *, sources: int = 0) -> dict[str, float]:
        """Return the differences, of 255, between the pipeline's picture of an order and this engine's."""
        [order] = self.orders(side, sources=sources)
        theirs = np.asarray(self.stock.make([order])[0]).astype(int)
        apart = np.abs(theirs - self.ours.make([order])[0].astype(int))
        return {
            "most": float(apart.max()),
            "99.9 %": float(np.quantile(apart, 0.999)),
            "mean": float(apart.mean()),
            "their deviation": float(theirs.std()),
        }


def read_memory_gigabytes(machine: Machine) -> float:
    """Return the most memory that tensors have held on the device so far."""
    return torch.cuda.max_memory_allocated(machine.device) / 1e9 if machine.is_gpu else 0.0
