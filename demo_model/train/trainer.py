"""Trainer of one stage: its networks, optimizer, averaged weights and number of steps."""

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
    """The limits of one training call, and where its progress is printed.

    Minutes count from the first step. The first limit that is reached ends the call. With `decay` the learning rate
    falls to 0 by then.
    """

    minutes: float | None = None
    steps: int | None = None
    decay: bool = False
    report_seconds: float = 30.0
    print_line: PrintLine = print

    def measure_progress(self, *, seconds: float, steps: int) -> float:
        """Return the spent share of the budget. 1 is all of it."""
        parts = [0.0]
        if self.minutes is not None:
            parts.append(seconds / 60 / max(self.minutes, 1e-9))
        if self.steps is not None:
            parts.append(steps / self.steps if self.steps else 1.0)
        return max(parts)


class Trainer:
    """The state of one stage.

    A step's random numbers depend on the step alone, so that training can stop after any step and continue later.
    """

    def __init__(
        self,
        path: Path,
        networks: Sequence[torch.nn.Module],
        *,
        learning_rate: float,
        frozen: Sequence[torch.nn.Module] = (),
    ) -> None:
        """Continue from the checkpoint at `path`, if there is one. Frozen networks are saved and not trained."""
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
        """Train until the budget is spent, print the progress, and save."""
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
        """Return a context in which the networks have their averaged weights."""
        return AveragedWeights(self._weights, self._average)

    def save(self) -> None:
        """Write the checkpoint."""
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
        # A new or reopened stage has no optimizer state, so its first steps are small.
        warm = min(1.0, (self.step - self._begun_at_step + 1) / WARM_UP_STEPS)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate * warm * decay
        self._optimizer.step()
        self.step += 1
        # The average of a reopened checkpoint must forget its start soon, so it counts steps from there.
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
        # A checkpoint from an exported folder has averaged weights only, and warms up again.
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
    """Context that swaps weights for their averages and back."""

    def __init__(self, weights: Sequence[torch.Tensor], average: Sequence[torch.Tensor]) -> None:
        """Take the weights and their averages. Nothing is swapped yet."""
        self._weights, self._average = weights, average
        self._own: list[torch.Tensor] = []

    def __enter__(self) -> None:
        """Put the averages in."""
        self._own = [weight.detach().clone() for weight in self._weights]
        self._put(self._average)

    def __exit__(self, *_: object) -> None:
        """Put the weights back."""
        self._put(self._own)

    @torch.no_grad()
    def _put(self, values: Sequence[torch.Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)


def write_atomically(path: Path, kept: object) -> None:
    """Write a file for `torch.load`, complete or not at all, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save(kept, unfinished)
    unfinished.rename(path)


def copy_averaged(network: Network, trainer: Trainer) -> Network:
    """Copy the network with averaged weights, for inference."""
    with trainer.use_average():
        return copy.deepcopy(network).eval().requires_grad_(False)


def make_generator(step: int, device: torch.device, *, salt: int = 0) -> torch.Generator:
    """Return the random generator of a step, which does not depend on earlier steps."""
    return torch.Generator(device).manual_seed(step * 1_000_003 + salt)
