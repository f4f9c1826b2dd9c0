"""Stage `adapt`: the finished flow learns how the painter shows one place, and keeps everything else.

Tokens that may show the place learn from painted pictures. The target of all other tokens is the finished flow's own
velocity, so its subjects, its edits and its few steps without guidance need not be learned again.
"""

import copy
from typing import Final

import torch

from demo_model.config import STEPS
from demo_model.painter.scene import PLACES
from demo_model.train import autoencoder, distil, plain_edits
from demo_model.train.flow import Batch, make_batch_sampler
from demo_model.train.run import TrainingRun
from demo_model.train.sampling import FlowModel, compute_noise_levels
from demo_model.train.trainer import Budget, Trainer, copy_averaged, make_generator

# No place rises above this share of a picture's height.
PLACE_TOP: Final = 3 / 16
# The first of a worker's steps decide where the place's shapes are, so most examples have their noise levels.
LEVEL_WEIGHTS: Final = (8.0, 4.0, 2.0, 1.0, 1.0, 1.0)
assert len(LEVEL_WEIGHTS) == STEPS
# A place's tokens above this share of the height have its outline before the sky, and this weight. The others weigh 1.
OUTLINE_FOOT: Final = 1 / 2
OUTLINE_WEIGHT: Final = 4.0
# The number of edits of plain pictures, and the weight of their error.
PLAIN_COUNT: Final = 96
PLAIN_WEIGHT: Final = 4.0


def train(
    run: TrainingRun, budget: Budget, *, plan: str, place: str, token_count: int, learning_rate: float
) -> None:
    """Train the transformer on the dataset. The text encoder knows the words already, so it stays as it is."""
    finished = distil.load_finished(run)
    flow, trainer = load(run, finished, learning_rate=learning_rate)
    batch_sampler = make_batch_sampler(run, plan=plan, token_count=token_count)
    size = min((dataset.kind.size for dataset in batch_sampler.datasets), key=lambda each: each[0] * each[1])
    vae = autoencoder.load_trained(run).to(memory_format=torch.channels_last)
    plain = plain_edits.sample(run, finished, vae, count=PLAIN_COUNT, size=size)
    run.compile_networks(*flow.blocks, *finished.blocks, has_many_shapes=True)

    def compute_loss(step: int) -> torch.Tensor:
        generator = make_generator(step, run.device, salt=8)
        if step % 2:
            edits = plain[step // 2 % len(plain)]
            with run.autocast():
                return PLAIN_WEIGHT * plain_edits.compute_loss(flow, edits, generator)
        batch = batch_sampler.draw(step, drop_chance=0.0)
        with run.autocast():
            return compute_adapting_loss(flow, finished, batch, generator, place=place)

    def report() -> str:
        batch_sampler.reload(run, plan=plan)
        return f"examples {batch_sampler.count}"

    trainer.train(compute_loss, budget, report=report, name="adapt")


def compute_adapting_loss(
    flow: FlowModel, finished: FlowModel, batch: Batch, generator: torch.Generator, *, place: str
) -> torch.Tensor:
    """Compute the mean square error of the velocity at the noise levels of a worker's steps."""
    latents_BCHW, device = batch.latents_BCHW, batch.latents_BCHW.device
    noise_BCHW = torch.randn(latents_BCHW.shape, generator=generator, device=device)
    chances = torch.tensor(LEVEL_WEIGHTS, device=device)
    at_B = torch.multinomial(chances, len(latents_BCHW), replacement=True, generator=generator)
    sigma_B = torch.tensor(compute_noise_levels(STEPS), device=device)[at_B]
    noisy_BCHW = torch.lerp(latents_BCHW, noise_BCHW, sigma_B[:, None, None, None])
    with torch.no_grad():
        finished_BCHW = finished.predict_velocity(batch.tokens_BL, noisy_BCHW, sigma_B, batch.sources)
    is_place_B1HW = mask_place(batch, place)[:, None]
    weights_B1HW = 1 + (OUTLINE_WEIGHT - 1) * (is_place_B1HW & _is_above(OUTLINE_FOOT, is_place_B1HW))
    wanted_BCHW = torch.where(is_place_B1HW, noise_BCHW - latents_BCHW, finished_BCHW)
    velocity_BCHW = flow.predict_velocity(batch.tokens_BL, noisy_BCHW, sigma_B, batch.sources)
    return (weights_B1HW * (velocity_BCHW - wanted_BCHW).square()).mean()


def mask_place(batch: Batch, place: str) -> torch.Tensor:
    """Mark the tokens that may show the place, of shape (B, H, W): those below the high sky, without a subject."""
    is_there_B11 = (batch.places_B == PLACES.index(place))[:, None, None]
    return is_there_B11 & ~_is_above(PLACE_TOP, batch.subjects_BHW) & ~batch.subjects_BHW


def load(
    run: TrainingRun, finished: FlowModel, *, learning_rate: float = distil.LEARNING_RATE
) -> tuple[FlowModel, Trainer]:
    """Load the adapted flow, which begins as the finished one, and its trainer."""
    flow = copy.deepcopy(finished)
    flow.transformer.requires_grad_(True)
    trainer = Trainer(run.folder / "adapt.pt", [flow], learning_rate=learning_rate, frozen=[flow.text])
    return flow, trainer


def load_served(run: TrainingRun) -> FlowModel:
    """Load the flow to serve: the adapted one if there is one, else the finished one.

    Raises FileNotFoundError if neither is trained.
    """
    finished = distil.load_finished(run)
    flow, trainer = load(run, finished)
    return copy_averaged(flow, trainer) if trainer.path.is_file() else finished


def _is_above(share: float, like: torch.Tensor) -> torch.Tensor:
    """Mark the rows of tokens that are wholly above a share of the height, of shape (H, 1)."""
    rows = like.shape[-2]
    return torch.arange(1, rows + 1, device=like.device)[:, None] <= share * rows
