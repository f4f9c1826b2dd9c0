"""Optimizer: Muon for matrices (Jordan et al., 2024), and AdamW for all other weights.

Muon orthogonalizes a matrix's momentum, so that every direction moves. Small networks learn from about half as many
pictures with it. Kernels of convolutions count as matrices.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

MOMENTUM: Final = 0.95
BETAS: Final = (0.9, 0.99)
EPSILON: Final = 1e-8
WEIGHT_DECAY: Final = 0.01
# AdamW's steps have this size, so one learning rate serves both optimizers (Liu et al., 2025).
STEP_RMS: Final = 0.2
ITERATIONS: Final = 5
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Optimizer of all weights with one learning rate."""

    def __init__(
        self, weights: Sequence[torch.Tensor], *, learning_rate: float, tables: Sequence[torch.Tensor] = ()
    ) -> None:
        """Sort the weights into matrices and others.

        A table of embeddings is no matrix here, because most of its rows get no gradient.
        """
        table_ids = {id(table) for table in tables}
        matrices = [weight for weight in weights if weight.ndim >= 2 and id(weight) not in table_ids]
        others = [weight for weight in weights if weight.ndim < 2 or id(weight) in table_ids]
        groups = [{"params": matrices, "is_matrix": True}, {"params": others, "is_matrix": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            torch._foreach_mul_(weights, 1 - group["lr"] * WEIGHT_DECAY)
            if group["is_matrix"]:
                self._move_matrices(weights, group["lr"])
            else:
                for weight in weights:
                    self._move_other(weight, weight.grad, self.state[weight], group["lr"])

    def _move_matrices(self, weights: Sequence[torch.Tensor], learning_rate: float) -> None:
        """Move the matrices of one shape together. One by one, a GPU would mostly wait."""
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        by_shape: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for weight, each in zip(weights, ahead, strict=True):
            matrix = each.reshape(len(each), -1)
            by_shape.setdefault((matrix.shape[0], matrix.shape[1]), []).append((weight, matrix))
        for shape, members in by_shape.items():
            steps = orthogonalize(torch.stack([matrix for _, matrix in members]))
            moved = [weight for weight, _ in members]
            shaped = [step.view(weight.shape) for weight, step in zip(moved, steps, strict=True)]
            torch._foreach_add_(moved, shaped, alpha=-learning_rate * STEP_RMS * max(shape) ** 0.5)

    def _move_other(
        self, weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], learning_rate: float
    ) -> None:
        if not state:
            state.update(steps=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["steps"] += 1
        state["mean"].lerp_(gradient, 1 - BETAS[0])
        state["square"].lerp_(gradient.square(), 1 - BETAS[1])
        deviation = (state["square"] / (1 - BETAS[1] ** state["steps"])).sqrt_().add_(EPSILON)
        weight.addcdiv_(state["mean"], deviation, value=-learning_rate / (1 - BETAS[0] ** state["steps"]))


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Return the nearest matrices with all singular values near 1, by Newton-Schulz iteration."""
    is_high = matrix.shape[-2] > matrix.shape[-1]
    matrices = matrix.mT if is_high else matrix
    matrices = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        product = matrices @ matrices.mT
        matrices = a * matrices + (b * product + c * product @ product) @ matrices
    result: torch.Tensor = matrices.mT if is_high else matrices
    return result
