"""Linear layers in eight-bit floating point, which matrix units of recent GPUs multiply much faster than bfloat16.

Each row of the input and each column of the result has a scale of its own. A picture changes slightly.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch.nn import functional
from torch.nn.functional import ScalingType

from workers.engine.interface import EngineError

FORMAT: Final = torch.float8_e4m3fn
GREATEST: Final = torch.finfo(FORMAT).max
# A row of zeros has no scale of its own.
LEAST_SCALE: Final = 1e-12
# The matrix units take sides that are multiples of this.
MULTIPLE: Final = 16
# The first GPUs with such matrix units: Ada and Hopper.
LEAST_CAPABILITY: Final = (8, 9)


class Float8Linear(torch.nn.Module):
    """A linear layer whose weights are rounded once, and whose input is rounded at each call."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: torch.nn.Linear) -> None:
        """Round the layer's weights. Its bias stays as it is."""
        super().__init__()
        weight, scale = _round(linear.weight.detach())
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("scale", scale.T.contiguous(), persistent=False)
        self.bias = linear.bias

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the product in the input's dtype, for an input of (..., inputs of the layer)."""
        rounded, row_scale = _round(values.flatten(0, -2))
        product = functional.scaled_mm(
            rounded,
            self.weight.t(),
            row_scale,
            ScalingType.RowWise,
            self.scale,
            ScalingType.RowWise,
            output_dtype=values.dtype,
            use_fast_accum=True,
        )
        result: torch.Tensor = product.unflatten(0, values.shape[:-1])
        return result if self.bias is None else result + self.bias


def replace_linears(modules: Iterable[torch.nn.Module], *, device: torch.device) -> int:
    """Replace the linear layers inside these modules, and return how many. Raise EngineError."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        raise EngineError(f"{torch.cuda.get_device_name(device)} cannot multiply in eight-bit floating point")
    parents = [parent for module in modules for parent in module.modules()]
    count = 0
    for parent in parents:
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.Linear) and not any(side % MULTIPLE for side in child.weight.shape):
                setattr(parent, name, Float8Linear(child))
                count += 1
    return count


def _round(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values divided by their rows' scales, and the scales as a column of single precision."""
    scale = (values.abs().amax(dim=-1, keepdim=True).float() / GREATEST).clamp(min=LEAST_SCALE)
    return (values.float() / scale).to(FORMAT), scale
