"""Inference with a trained folder, with the pipeline, the steps and the options that a worker uses."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import Flux2KleinPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from demo_model.config import PROMPT_TOKENS, STEPS, TEXT_LAYERS

BATCH_SIZE: Final = 8


class InferencePipeline:
    """A trained pipeline on a device."""

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        """Load the pipeline from a folder. Nothing is downloaded."""
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        diffusers_logging.set_verbosity_error()
        self._pipeline = Flux2KleinPipeline.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.to(device)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        size: tuple[int, int],
        sources: Sequence[Image.Image] = (),
        first_seed: int = 0,
    ) -> Iterator[Image.Image]:
        """Yield one picture for each prompt, all from the same sources.

        Sizes are width and height. Picture number N has the seed `first_seed` + N.
        """
        for start in range(0, len(prompts), BATCH_SIZE):
            part = list(prompts[start : start + BATCH_SIZE])
            yield from self._pipeline(
                prompt=part,
                image=list(sources) or None,
                width=size[0],
                height=size[1],
                num_inference_steps=STEPS,
                guidance_scale=1.0,
                generator=[torch.Generator().manual_seed(first_seed + start + at) for at in range(len(part))],
                max_sequence_length=PROMPT_TOKENS,
                text_encoder_out_layers=tuple(range(1, TEXT_LAYERS + 1)),
            ).images
