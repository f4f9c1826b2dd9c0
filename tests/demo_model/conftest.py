"""A tiny model, taken through every stage once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from demo_model.config import TINY
from demo_model.train import autoencoder, dataset, distil, export, flow, text
from demo_model.train.run import Studio
from demo_model.train.trainer import Sitting

ORDERS = 24
TOKENS = 300


def sitting(steps: int, said: list[str] | None = None) -> Sitting:
    """So many steps, in silence."""
    lines: list[str] = [] if said is None else said
    return Sitting(steps=steps, say=lines.append)


def studio_in(folder: Path) -> Studio:
    """The tiny sizes, on the CPU."""
    return Studio(folder=folder, device=torch.device("cpu"), sizes=TINY)


def begin_autoencoder(studio: Studio) -> None:
    """From a few small pictures."""
    autoencoder.begin(studio, sizes=(64,), pixel_count=16 * 64**2)


def train_decoder(studio: Studio, steps: int) -> None:
    """On a handful of small pictures."""
    autoencoder.train(studio, sitting(steps), sides=(64,), crop=64, batch=4, picture_count=8)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Every stage has sat once. Not to be trained on."""
    studio = studio_in(tmp_path_factory.mktemp("demo_model"))
    begin_autoencoder(studio)
    train_decoder(studio, 2)
    text.train(studio, sitting(2))
    dataset.fill(studio, plan="stamps", count=ORDERS, say=lambda _: None)
    flow.train(studio, sitting(2), plan="stamps", token_count=TOKENS)
    distil.train(studio, sitting(2), plan="stamps", token_count=TOKENS, walk_count=2)
    return studio


@pytest.fixture(scope="session")
def exported(trained: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a worker loads."""
    folder = tmp_path_factory.mktemp("weights") / "demo"
    export.export(trained, folder)
    return folder


@pytest.fixture
def copied(trained: Studio, tmp_path: Path) -> Callable[..., Studio]:
    """A copy of some of the trained stages' checkpoints, and of the pool, to go on from."""

    def copy(*stages: str, name: str = "copy") -> Studio:
        folder = tmp_path / name
        folder.mkdir()
        for stage in stages:
            (folder / f"{stage}.pt").write_bytes((trained.folder / f"{stage}.pt").read_bytes())
        (folder / "pool").symlink_to(trained.folder / "pool")
        return studio_in(folder)

    return copy
