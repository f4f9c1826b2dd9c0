"""The adapter that runs FLUX.2-klein's own pipeline, for weights that the device cannot hold all at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import Flux2KleinPipeline

from workers.engine.interface import ImageOrder, PromptTokens
from workers.imaging import letterbox
from workers.pipelines.diffusers.engine import PipelineCall
from workers.pipelines.flux2.prompt_template import PromptTemplate
from workers.pipelines.flux2.reference_images import ORDERED


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
