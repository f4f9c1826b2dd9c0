"""Flow model, and the sampling of latents from noise as a worker does it.

Tensors: B examples, S tokens of the picture, C channels, L tokens of text, D of an embedding.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from diffusers import Flux2KleinPipeline, Flux2Transformer2DModel
from torch import nn

from demo_model.config import SHIFT, STEPS
from demo_model.networks import build_transformer
from demo_model.train.run import TrainingRun
from demo_model.train.text import CaptionClassifier, embed_tokens


class FlowModel(nn.Module):
    """The text encoder and the transformer, which are trained together."""

    def __init__(self, run: TrainingRun, caption_classifier: CaptionClassifier) -> None:
        """Take the caption classifier's text encoder, and an untrained transformer."""
        super().__init__()
        self.text = caption_classifier.encoder
        self.transformer: Flux2Transformer2DModel = build_transformer(run.sizes)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks, which take nearly all of the time."""
        return [*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks]

    def predict_velocity(
        self,
        tokens_BL: torch.Tensor,
        noisy_BCHW: torch.Tensor,
        sigma_B: torch.Tensor,
        sources: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """Predict the latents' velocity at noise levels sigma, exactly as the pipeline does."""
        embedded_BLD = embed_tokens(self.text, tokens_BL.long())
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


def sample_latents(flow: FlowModel, tokens_BL: torch.Tensor, noise_BCHW: torch.Tensor) -> torch.Tensor:
    """Sample latents from noise in the worker's steps."""
    *_, latents_BCHW = sample_trajectory(flow, tokens_BL, noise_BCHW, steps=STEPS)
    return latents_BCHW


@torch.no_grad()
def sample_trajectory(
    flow: FlowModel,
    tokens_BL: torch.Tensor,
    noise_BCHW: torch.Tensor,
    sources: Sequence[torch.Tensor] = (),
    *,
    steps: int,
    guidance: float = 1.0,
    empty_prompt_L: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """Yield the noise, and the latents after each Euler step.

    With guidance other than 1, each step leads away from the velocity of the empty prompt, which must be given.
    """
    yield noise_BCHW
    latents_BCHW = noise_BCHW
    for level, following in pairwise(compute_noise_levels(steps)):
        sigma_B = torch.full((len(tokens_BL),), level, device=noise_BCHW.device)
        velocity_BCHW = flow.predict_velocity(tokens_BL, latents_BCHW, sigma_B, sources)
        if guidance != 1:
            assert empty_prompt_L is not None
            unconditional_BCHW = flow.predict_velocity(
                empty_prompt_L.expand_as(tokens_BL), latents_BCHW, sigma_B, sources
            )
            velocity_BCHW = unconditional_BCHW + guidance * (velocity_BCHW - unconditional_BCHW)
        latents_BCHW = latents_BCHW + (following - level) * velocity_BCHW
        yield latents_BCHW


def compute_noise_levels(steps: int) -> list[float]:
    """Return the noise levels of `steps` steps, from 1 to 0, as the worker's scheduler has them."""
    part = torch.linspace(1, 0, steps + 1)
    return (SHIFT * part / (1 + (SHIFT - 1) * part)).tolist()
