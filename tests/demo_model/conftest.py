"""A tiny model that has passed every stage once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from demo_model.config import TINY
from demo_model.train import adapt, autoencoder, dataset, distil, export, flow, text
from demo_model.train.run import TrainingRun
from demo_model.train.trainer import Budget

EXAMPLE_COUNT = 24
TOKEN_COUNT = 300


def make_budget(steps: int, said: list[str] | None = None) -> Budget:
    """Return a budget of steps that prints nothing."""
    lines: list[str] = [] if said is None else said
    return Budget(steps=steps, print_line=lines.append)


def make_run(folder: Path) -> TrainingRun:
    """Return a run of the tiny networks on the CPU."""
    return TrainingRun(folder=folder, device=torch.device("cpu"), sizes=TINY)


def initialize_autoencoder(run: TrainingRun) -> None:
    """Compute the autoencoder from a few small pictures."""
    autoencoder.initialize(run, sides=(64,), pixel_count=16 * 64**2)


def train_decoder(run: TrainingRun, steps: int) -> None:
    """Train the decoder on a few small pictures."""
    autoencoder.train(run, make_budget(steps), sides=(64,), crop=64, batch=4, picture_count=8)


def adapt_to_mountains(run: TrainingRun) -> None:
    """Train the stage that learns one place, for two steps."""
    adapt.train(
        run, make_budget(2), plan="stamps", place="mountains", token_count=TOKEN_COUNT, learning_rate=1e-3
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Return a run that has trained each stage once. Tests do not train it further."""
    run = make_run(tmp_path_factory.mktemp("demo_model"))
    initialize_autoencoder(run)
    train_decoder(run, 2)
    text.train(run, make_budget(2))
    dataset.fill(run, plan="stamps", count=EXAMPLE_COUNT, print_line=lambda _: None)
    flow.train(run, make_budget(2), plan="stamps", token_count=TOKEN_COUNT)
    distil.train(run, make_budget(2), plan="stamps", token_count=TOKEN_COUNT, trajectory_count=2)
    adapt_to_mountains(run)
    return run


@pytest.fixture(scope="session")
def exported(trained: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a worker loads."""
    folder = tmp_path_factory.mktemp("weights") / "demo"
    export.export(trained, folder)
    return folder


@pytest.fixture
def copied(trained: TrainingRun, tmp_path: Path) -> Callable[..., TrainingRun]:
    """Return a function that copies some checkpoints and the dataset of the trained run."""

    def copy(*stages: str, name: str = "copy") -> TrainingRun:
        folder = tmp_path / name
        folder.mkdir()
        for stage in stages:
            (folder / f"{stage}.pt").write_bytes((trained.folder / f"{stage}.pt").read_bytes())
        (folder / "pool").symlink_to(trained.folder / "pool")
        return make_run(folder)

    return copy
