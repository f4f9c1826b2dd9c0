"""The stage `transformer`: text and noise to latents, by rectified flow (Liu et al., ICLR 2023).

Tensors: B orders, S tokens of the picture, R of its sources, C channels, L tokens of text, D of an embedding.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
from torch import nn

from demo_model.config import PROMPT_TOKENS, SHIFT, STEPS
from demo_model.networks import tokens_of, transformer
from demo_model.train.dataset import EncodedDataset, filled
from demo_model.train.run import Studio
from demo_model.train.text import Reader, embeddings
from demo_model.train.text import taken_up as reader_taken_up
from demo_model.train.trainer import Course, Sitting, averaged_copy, drawn_at
from demo_model.train.validation import Gate

RATE = 2e-3
# How many prompts are dropped, for guidance needs to know what comes of none.
DROPPED = 0.1


class Batch(NamedTuple):
    """Orders of one kind."""

    tokens_BL: torch.Tensor
    latents_BCHW: torch.Tensor
    sources: tuple[torch.Tensor, ...]
    subjects_BHW: torch.Tensor


class Flow(nn.Module):
    """What is trained together: the text encoder and the transformer."""

    def __init__(self, studio: Studio, reader: Reader) -> None:
        """The text encoder is the reader's, the transformer untrained."""
        super().__init__()
        self.text = reader.encoder
        self.transformer: Flux2Transformer2DModel = transformer(studio.sizes)

    @property
    def blocks(self) -> list[nn.Module]:
        """Where nearly all of the time goes."""
        return [*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks]

    def velocity(
        self,
        tokens_BL: torch.Tensor,
        noisy_BCHW: torch.Tensor,
        sigma_B: torch.Tensor,
        sources: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """Where the latents flow at noise levels sigma, reckoned just as the pipeline does it."""
        embedded_BLD = embeddings(self.text, tokens_BL.long())
        pipeline = Flux2KleinPipeline
        ids_BS4 = pipeline._prepare_latent_ids(noisy_BCHW[:1])
        shown_BSC = pipeline._pack_latents(noisy_BCHW)
        count = shown_BSC.shape[1]
        if sources:
            ids_BS4 = torch.cat([ids_BS4, pipeline._prepare_image_ids([each[:1] for each in sources])], dim=1)
            shown_BSC = torch.cat([shown_BSC, *(pipeline._pack_latents(each) for each in sources)], dim=1)
        flow_BSC: torch.Tensor = self.transformer(
            hidden_states=shown_BSC,
            timestep=sigma_B,
            guidance=None,
            encoder_hidden_states=embedded_BLD,
            txt_ids=pipeline._prepare_text_ids(embedded_BLD[:1]).to(noisy_BCHW.device),
            img_ids=ids_BS4.to(noisy_BCHW.device),
            return_dict=False,
        )[0]
        return flow_BSC[:, :count].transpose(1, 2).reshape(noisy_BCHW.shape).float()


@dataclass(kw_only=True)
class Drawer:
    """Draws batches from lots, each kind as often as it has orders, and of about so many tokens."""

    lots: Sequence[EncodedDataset]
    token_count: int
    nothing_L: torch.Tensor

    def batch(self, step: int, *, dropped: float) -> Batch:
        """The orders of a step, all of one kind; some have lost their prompt."""
        drawn = drawn_at(step, torch.device("cpu"), salt=2)
        counts = torch.tensor([float(len(lot.tokens_NKL)) for lot in self.lots])
        lot = self.lots[int(torch.multinomial(counts, 1, generator=drawn))]
        device = lot.targets_NCHW.device
        chosen_B = torch.randint(len(lot.tokens_NKL), (self._count(lot),), generator=drawn)
        wording_B = torch.randint(lot.tokens_NKL.shape[1], chosen_B.shape, generator=drawn)
        is_dropped_B = torch.rand(chosen_B.shape, generator=drawn) < dropped
        chosen_B, wording_B, is_dropped_B = (each.to(device) for each in (chosen_B, wording_B, is_dropped_B))
        return Batch(
            torch.where(is_dropped_B[:, None], self.nothing_L, lot.tokens_NKL[chosen_B, wording_B]),
            lot.targets_NCHW[chosen_B].float(),
            tuple(each[chosen_B].float() for each in lot.sources_NCHW),
            lot.subjects_NHW[chosen_B],
        )

    def _count(self, lot: EncodedDataset) -> int:
        tensors = (lot.targets_NCHW, *lot.sources_NCHW)
        tokens = PROMPT_TOKENS + sum(each.shape[2] * each.shape[3] for each in tensors)
        return max(1, self.token_count // tokens)


def train(
    studio: Studio,
    sitting: Sitting,
    *,
    plan: str,
    token_count: int,
    rate: float = RATE,
    subject_weight: float = 1.0,
) -> None:
    """Learns from the pool; the progress lines say how much the right prompt helps, and what the judge sees."""
    flow, course = taken_up(studio, rate=rate)
    drawer = drawer_of(studio, plan=plan, token_count=token_count)
    gate = Gate(studio, size=drawer.lots[0].kind.size)
    studio.quicken(*flow.blocks, is_of_many_shapes=True)

    def loss_at(step: int) -> torch.Tensor:
        drawn = drawn_at(step, studio.device, salt=3)
        batch = drawer.batch(step, dropped=DROPPED)
        noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=drawn, device=studio.device)
        with studio.reckoning():
            return flow_loss(flow, batch, noise_BCHW, sigmas(batch, drawn), subject_weight=subject_weight)

    def report() -> str:
        # A pool that is still being filled has more by now.
        drawer.lots = [lot.to(studio.device) for lot in filled(studio, plan=plan)]
        # What is reported is not worth compiling for.
        with course.averaged(), torch.compiler.set_stance("force_eager"):
            return f"orders {sum(len(lot.tokens_NKL) for lot in drawer.lots)} " + gate.report(flow)

    course.run(loss_at, sitting, report=report, name="transformer")


def flow_loss(
    flow: Flow,
    batch: Batch,
    noise_BCHW: torch.Tensor,
    sigma_B: torch.Tensor,
    *,
    subject_weight: float = 1.0,
) -> torch.Tensor:
    """How far the velocity is from that of the straight way between picture and noise."""
    sigma_B111 = sigma_B[:, None, None, None]
    noisy_BCHW = (1 - sigma_B111) * batch.latents_BCHW + sigma_B111 * noise_BCHW
    velocity_BCHW = flow.velocity(batch.tokens_BL, noisy_BCHW, sigma_B, batch.sources)
    return weighted_error(
        velocity_BCHW, noise_BCHW - batch.latents_BCHW, batch, subject_weight=subject_weight
    )


def weighted_error(
    velocity_BCHW: torch.Tensor, wanted_BCHW: torch.Tensor, batch: Batch, *, subject_weight: float
) -> torch.Tensor:
    """The mean square of what is between them. A token that shows the subject counts as much more than another as is
    said: it has the fewest of a picture's tokens, and is looked at first.
    """
    weights_B1HW = 1 + (subject_weight - 1) * batch.subjects_BHW[:, None].float()
    return (weights_B1HW * (velocity_BCHW - wanted_BCHW).square()).mean() / weights_B1HW.mean()


def sigmas(batch: Batch, drawn: torch.Generator) -> torch.Tensor:
    """Noise levels, mostly high: what a picture shows is settled there. The more tokens, the higher."""
    count = batch.latents_BCHW.shape[2] * batch.latents_BCHW.shape[3]
    shift = min(4.0, max(2.0, 3.0 * math.sqrt(count / 256)))
    normal_B = torch.randn(len(batch.tokens_BL), generator=drawn, device=drawn.device)
    part_B = torch.sigmoid(normal_B)
    return shift * part_B / (1 + (shift - 1) * part_B)


def drawer_of(studio: Studio, *, plan: str, token_count: int) -> Drawer:
    """The pool, on the device."""
    nothing_L = tokens_of([""], studio.sizes)[0].short().to(studio.device)
    lots = [lot.to(studio.device) for lot in filled(studio, plan=plan)]
    return Drawer(lots=lots, token_count=token_count, nothing_L=nothing_L)


def taken_up(studio: Studio, *, rate: float = RATE) -> tuple[Flow, Course]:
    """The flow as it stands, with its course."""
    reader, reading = reader_taken_up(studio)
    reader = averaged_copy(reader, reading)
    torch.manual_seed(2)
    flow = Flow(studio, reader).to(studio.device).requires_grad_(True)
    return flow, Course(studio.folder / "transformer.pt", [flow], rate=rate)


def sampled(flow: Flow, tokens_BL: torch.Tensor, noise_BCHW: torch.Tensor) -> torch.Tensor:
    """Latents from noise as a worker makes them."""
    *_, latents_BCHW = walked(flow, tokens_BL, noise_BCHW, steps=STEPS)
    return latents_BCHW


@torch.no_grad()
def walked(
    flow: Flow,
    tokens_BL: torch.Tensor,
    noise_BCHW: torch.Tensor,
    sources: Sequence[torch.Tensor] = (),
    *,
    steps: int,
    guidance: float = 1.0,
    nothing_L: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """The noise, and the latents after each Euler step. With guidance above 1, away from what comes of no prompt."""
    yield noise_BCHW
    latents_BCHW = noise_BCHW
    for level, following in pairwise(levels(steps)):
        sigma_B = torch.full((len(tokens_BL),), level, device=noise_BCHW.device)
        velocity_BCHW = flow.velocity(tokens_BL, latents_BCHW, sigma_B, sources)
        if guidance != 1:
            assert nothing_L is not None
            unasked_BCHW = flow.velocity(nothing_L.expand_as(tokens_BL), latents_BCHW, sigma_B, sources)
            velocity_BCHW = unasked_BCHW + guidance * (velocity_BCHW - unasked_BCHW)
        latents_BCHW = latents_BCHW + (following - level) * velocity_BCHW
        yield latents_BCHW


def levels(steps: int) -> list[float]:
    """The noise levels that so many steps lead through, from 1 to 0, as the worker's scheduler has them."""
    part = torch.linspace(1, 0, steps + 1)
    return (SHIFT * part / (1 + (SHIFT - 1) * part)).tolist()
