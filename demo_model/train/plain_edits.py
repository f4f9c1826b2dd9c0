"""Edits of plain pictures: blocks and discs of one colour on another, which the painter never paints.

Clients send such sources too. An adapted flow keeps what the finished one makes of them by its own trajectories.
"""

import random
from typing import Final, NamedTuple

import torch
from diffusers import AutoencoderKLFlux2

from demo_model.config import STEPS
from demo_model.edit_pairs import make_edit
from demo_model.networks import tokenize
from demo_model.painter.scene import draw_scenes
from demo_model.train.dataset import encode_scaled
from demo_model.train.run import TrainingRun
from demo_model.train.sampling import FlowModel, compute_noise_levels, sample_trajectory

BATCH_SIZE: Final = 4
# The seeds of the scenes whose instructions are used. No dataset begins here.
FIRST_SEED: Final = 40_000_000
# The first steps decide what a picture shows.
LEVEL_WEIGHTS: Final = (4.0, 3.0, 2.0, 1.0, 1.0, 1.0)
assert len(LEVEL_WEIGHTS) == STEPS


class PlainEdits(NamedTuple):
    """A batch of edits, and the finished flow's latents at each of a worker's noise levels, from noise to pictures."""

    tokens_BL: torch.Tensor
    sources_BCHW: torch.Tensor
    latents: tuple[torch.Tensor, ...]


def sample(
    run: TrainingRun, finished: FlowModel, vae: AutoencoderKLFlux2, *, count: int, size: tuple[int, int]
) -> list[PlainEdits]:
    """Draw `count` plain pictures of this size, and have the finished flow edit them, batch by batch."""
    chance = random.Random(FIRST_SEED)  # noqa: S311 (no secret)
    scenes = draw_scenes(range(FIRST_SEED, FIRST_SEED + count))
    texts = [make_edit(scene, seed=scene.seed).instruction for scene in scenes]
    generator = torch.Generator(run.device).manual_seed(FIRST_SEED)
    batches = []
    for start in range(0, count, BATCH_SIZE):
        instructions = texts[start : start + BATCH_SIZE]
        pixels_BCHW = torch.stack([draw(chance, *size) for _ in instructions]).to(run.device)
        with torch.no_grad():
            sources_BCHW = encode_scaled(vae, pixels_BCHW.contiguous(memory_format=torch.channels_last))
        tokens_BL = tokenize(instructions, run.sizes).to(run.device)
        noise_BCHW = torch.randn(sources_BCHW.shape, generator=generator, device=run.device)
        latents = tuple(sample_trajectory(finished, tokens_BL, noise_BCHW, [sources_BCHW], steps=STEPS))
        batches.append(PlainEdits(tokens_BL, sources_BCHW, latents))
    return batches


def draw(chance: random.Random, width: int, height: int) -> torch.Tensor:
    """Draw one or two blocks or discs on a ground of another colour, of shape (3, H, W), from -1 to 1."""
    rows_HW, columns_HW = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture_CHW = _draw_colour(chance).expand(3, height, width).clone()
    for _ in range(chance.randint(1, 2)):
        half = min(width, height) // chance.choice((4, 6, 8))
        row, column = chance.randint(half, height - half), chance.randint(half, width - half)
        if chance.random() < 1 / 2:
            row, column = height // 2, width // 2
        rows_away_HW, columns_away_HW = (rows_HW - row).abs(), (columns_HW - column).abs()
        is_block = chance.random() < 2 / 3
        is_inside_HW = (
            torch.maximum(rows_away_HW, columns_away_HW) < half
            if is_block
            else rows_away_HW.square() + columns_away_HW.square() < half**2
        )
        picture_CHW = torch.where(is_inside_HW, _draw_colour(chance), picture_CHW)
    return picture_CHW


def compute_loss(flow: FlowModel, edits: PlainEdits, generator: torch.Generator) -> torch.Tensor:
    """Compute the mean square error of the velocity at one noise level, against the finished flow's own."""
    chances = torch.tensor(LEVEL_WEIGHTS, device=generator.device)
    at = int(torch.multinomial(chances, 1, generator=generator))
    levels = compute_noise_levels(STEPS)
    wanted_BCHW = (edits.latents[at + 1] - edits.latents[at]) / (levels[at + 1] - levels[at])
    sigma_B = torch.full((len(edits.tokens_BL),), levels[at], device=edits.tokens_BL.device)
    velocity_BCHW = flow.predict_velocity(edits.tokens_BL, edits.latents[at], sigma_B, [edits.sources_BCHW])
    return (velocity_BCHW - wanted_BCHW).square().mean()


def _draw_colour(chance: random.Random) -> torch.Tensor:
    return torch.tensor([chance.uniform(-0.85, 0.85) for _ in range(3)])[:, None, None]
