"""What all measurements share: the device, who makes pictures on it, and how much arithmetic a picture is."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.contenders import Orders, Ours, Stock, Tuned
from bench.gpu.machine import Machine
from bench.gpu.models import Scale


@dataclass(kw_only=True)
class Context:
    """Filled as it is made; `flop_rate` is the latest that was measured."""

    machine: Machine
    scale: Scale
    orders: Orders
    stock: Stock
    ours: Ours
    flop_rate: float = 0.0
    # By side in pixels and stage: floating-point operations of one create, counted, not estimated.
    operations: dict[int, dict[str, float]] = field(default_factory=dict)

    _tuned: Tuned | None = None

    @property
    def tuned(self) -> Tuned:
        """Made when it is first asked for: compiling it takes minutes."""
        if self._tuned is None:
            self._tuned = Tuned(self.scale, self.machine)
        return self._tuned

    def count_operations(self) -> None:
        """To be called before anything is compiled: only then does torch see each operation."""
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

    def floor_seconds(self, side: int) -> float:
        """What one create takes at least, at the rate of the matrix products that were just measured."""
        return sum(self.operations[side].values()) / self.flop_rate

    def differences(self, side: int, *, sources: int = 0) -> dict[str, float]:
        """Of 255, between the pipeline's picture of an order and ours."""
        [order] = self.orders(side, sources=sources)
        theirs = np.asarray(self.stock.make([order])[0]).astype(int)
        apart = np.abs(theirs - self.ours.make([order])[0].astype(int))
        return {
            "most": float(apart.max()),
            "99.9 %": float(np.quantile(apart, 0.999)),
            "mean": float(apart.mean()),
            "their deviation": float(theirs.std()),
        }


def memory_gigabytes(machine: Machine) -> float:
    """The most that tensors have held on the device so far."""
    return torch.cuda.max_memory_allocated(machine.device) / 1e9 if machine.is_gpu else 0.0
