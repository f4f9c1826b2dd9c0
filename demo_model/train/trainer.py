"""A stage of training: its networks, their optimizer, a slow average of their weights, and how far it has come."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from demo_model.train.muon import Muon

WARM_UP_STEPS: Final = 50
MAX_GRADIENT: Final = 1.0
MAX_EMA: Final = 0.999

Network = TypeVar("Network", bound=torch.nn.Module)
PrintLine = Callable[[str], None]


@dataclass(kw_only=True)
class Budget:
    """How long one call trains, from its first step on: minutes or steps, whichever ends first. With `decay` the
    learning rate falls to 0.
    """

    minutes: float | None = None
    steps: int | None = None
    decay: bool = False
    report_seconds: float = 30.0
    print_line: PrintLine = print

    def measure_progress(self, *, seconds: float, steps: int) -> float:
        """How much of the budget is over, 1 being all of it."""
        parts = [0.0]
        if self.minutes is not None:
            parts.append(seconds / 60 / max(self.minutes, 1e-9))
        if self.steps is not None:
            parts.append(steps / self.steps if self.steps else 1.0)
        return max(parts)


class Trainer:
    """One stage's state. What is drawn at a step depends on the step alone, so a budget can end after any."""

    def __init__(
        self,
        path: Path,
        networks: Sequence[torch.nn.Module],
        *,
        learning_rate: float,
        frozen: Sequence[torch.nn.Module] = (),
    ) -> None:
        """Takes up from the checkpoint at `path`, if there is one. What is frozen is saved and not trained."""
        self.path = path
        self.step = 0
        self._learning_rate = learning_rate
        self._networks = list(networks)
        self._begun_at_step = 0
        kept = {id(weight) for network in frozen for weight in network.parameters()}
        self._weights = [
            weight for network in networks for weight in network.parameters() if id(weight) not in kept
        ]
        self._optimizer = Muon(
            self._weights, learning_rate=learning_rate, tables=_find_embedding_tables(networks)
        )
        self._average = [weight.detach().clone() for weight in self._weights]
        if path.is_file():
            self._load()

    def train(
        self,
        compute_loss: Callable[[int], torch.Tensor],
        budget: Budget,
        *,
        report: Callable[[], str] = lambda: "",
        name: str,
    ) -> None:
        """Trains until the budget is over, saying how it goes; then saves."""
        first_step, started_at, losses = self.step, time.monotonic(), list[torch.Tensor]()
        reported_at = started_at
        while (
            progress := budget.measure_progress(
                seconds=time.monotonic() - started_at, steps=self.step - first_step
            )
        ) < 1:
            losses.append(
                self._take_step(compute_loss(self.step), decay=1 - progress if budget.decay else 1.0)
            )
            if time.monotonic() - reported_at > budget.report_seconds:
                self._report(budget, name, losses, report)
                self.save()
                reported_at, losses = time.monotonic(), []
        if losses:
            self._report(budget, name, losses, report)
        self.save()

    def use_average(self) -> "AveragedWeights":
        """The networks with the average of their weights, while the context lasts."""
        return AveragedWeights(self._weights, self._average)

    def save(self) -> None:
        """Writes the checkpoint."""
        state: dict[str, Any] = {
            "step": self.step,
            "begun_at_step": self._begun_at_step,
            "networks": [network.state_dict() for network in self._networks],
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
        }
        write_atomically(self.path, state)

    def _take_step(self, loss: torch.Tensor, *, decay: float) -> torch.Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, MAX_GRADIENT)
        # The optimizer's own memory may not have come along, so every budget begins slowly.
        warm = min(1.0, (self.step - self._begun_at_step + 1) / WARM_UP_STEPS)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate * warm * decay
        self._optimizer.step()
        self.step += 1
        # What was reopened must forget what it came from within this budget.
        known = self.step - self._begun_at_step
        share = 1 - min(MAX_EMA, (1 + known) / (10 + known))
        torch._foreach_lerp_(self._average, [weight.detach() for weight in self._weights], share)
        return loss.detach()

    def _report(
        self, budget: Budget, name: str, losses: list[torch.Tensor], report: Callable[[], str]
    ) -> None:
        loss = torch.stack(losses).mean().item()
        budget.print_line(f"{name} step {self.step} loss {loss:.4f} {report()}".rstrip())

    def _load(self) -> None:
        state = torch.load(self.path, map_location=self._weights[0].device, weights_only=True)
        self.step = state["step"]
        for network, weights in zip(self._networks, state["networks"], strict=True):
            network.load_state_dict(weights)
        # What was reopened from an exported folder has nothing but averaged weights, and warms up again.
        if "optimizer" not in state:
            self._begun_at_step = self.step
            self._average = [weight.detach().clone() for weight in self._weights]
            return
        for average, saved in zip(self._average, state["average"], strict=True):
            average.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        self._begun_at_step = state["begun_at_step"]


def _find_embedding_tables(networks: Sequence[torch.nn.Module]) -> list[torch.Tensor]:
    return [
        module.weight
        for network in networks
        for module in network.modules()
        if isinstance(module, torch.nn.Embedding)
    ]


class AveragedWeights:
    """Swaps weights for their averages and back."""

    def __init__(self, weights: Sequence[torch.Tensor], average: Sequence[torch.Tensor]) -> None:
        """Nothing is swapped yet."""
        self._weights, self._average = weights, average
        self._own: list[torch.Tensor] = []

    def __enter__(self) -> None:
        """Puts the averages in."""
        self._own = [weight.detach().clone() for weight in self._weights]
        self._put(self._average)

    def __exit__(self, *_: object) -> None:
        """Puts the weights back."""
        self._put(self._own)

    @torch.no_grad()
    def _put(self, values: Sequence[torch.Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)


def write_atomically(path: Path, kept: object) -> None:
    """Writes a file that torch can load, complete or not at all, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save(kept, unfinished)
    unfinished.rename(path)


def copy_averaged(network: Network, trainer: Trainer) -> Network:
    """A copy of the network with averaged weights, for use alone."""
    with trainer.use_average():
        return copy.deepcopy(network).eval().requires_grad_(False)


def make_generator(step: int, device: torch.device, *, salt: int = 0) -> torch.Generator:
    """The random numbers of a step: the same whichever budget it falls in."""
    return torch.Generator(device).manual_seed(step * 1_000_003 + salt)
