"""The adapter that runs FLUX.2-klein's own pipeline, for weights that the device cannot hold all at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import Flux2KleinPipeline

from workers.engine.interface import ImageOrder, PromptTokens
from workers.imaging import letterbox
from workers.pipelines.diffusers.engine import PipelineCall
from workers.pipelines.diffusers.latent_tokens import PackedTokens
from workers.pipelines.flux2.prompt_template import PromptTemplate
from workers.pipelines.flux2.reference_images import ORDERED


class Flux2Tokens(PackedTokens):
    """The LatentTokens of FLUX.2, whose pipeline packs squares of latents itself."""

    def _scale(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        mean_C, variance_C = (
            values.view(1, -1, 1, 1) for values in (vae.bn.running_mean, vae.bn.running_var)
        )
        deviation_C = torch.sqrt(variance_C + vae.config.batch_norm_eps)
        scaled_1CHW = (self._pipeline._patchify_latents(of_vae) - mean_C) / deviation_C
        tokens_1SC: torch.Tensor = self._pipeline._pack_latents(scaled_1CHW)
        return tokens_1SC


class OffloadedFlux2Klein:
    """A PipelineAdapter of one pipeline that creates and edits."""

    def __init__(
        self,
        *,
        pipeline: Flux2KleinPipeline,
        steps: int,
        text: Mapping[str, Any],
        template: PromptTemplate,
        source_shape: str,
    ) -> None:
        """Take the pipeline's arguments for encoding prompts as `text`."""
        self._pipeline = pipeline
        self._steps = steps
        self._text = text
        self._template = template
        self._source_shape = source_shape

    def count_tokens(self, prompt: str) -> PromptTokens:
        """Return how many tokens the prompt has, and how many of them are read."""
        return self._template.fit(prompt).tokens

    @property
    def latent_tokens(self) -> Flux2Tokens:
        """Return the tokens of the pipeline's latents."""
        return Flux2Tokens(self._pipeline)

    def build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        """Return the call. Each order has its own noise generator on the CPU: its picture is the same in any batch."""
        first = orders[0]
        sources = list(first.sources)
        if self._source_shape == ORDERED:
            sources = [letterbox.fit(source, (first.width, first.height)) for source in sources]
        return PipelineCall(
            self._pipeline,
            {
                "prompt": [self._template.fit(order.prompt).text for order in orders],
                "image": sources or None,
                "width": first.width,
                "height": first.height,
                "num_inference_steps": self._steps,
                "guidance_scale": 1.0,
                "generator": [torch.Generator().manual_seed(order.seed) for order in orders],
                **self._text,
            },
        )
