"""The decoder from FLUX.2's latents to the bytes of pictures, on the device.

Shapes: S tokens of a picture, C channels of a token, H by W pixels. Pictures are decoded one by one. One picture
fills a GPU, and decoded alone it does not depend on the others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers import Flux2KleinPipeline
from diffusers.models.attention_processor import AttnProcessor

from workers.pipelines.flux2.transformer import Grid
from workers.pipelines.runtime.compilation import Compiler, Work
from workers.pipelines.runtime.device import Device

# The attention of a picture with more tokens would need more than a gigabyte for its scores.
MAX_PRODUCT_TOKENS: Final = 16_384


class Decoder:
    """The VAE's decoder, in the memory order that convolutions are fast with."""

    def __init__(self, *, pipeline: Flux2KleinPipeline, device: Device) -> None:
        """Take a pipeline that is on its device already."""
        self._pipeline = pipeline
        self._vae = pipeline.vae.to(memory_format=torch.channels_last)
        self._device = device
        self._graphs: dict[Grid, Work] = {}
        norm = self._vae.bn
        self._mean_C = norm.running_mean.view(1, -1, 1, 1)
        self._deviation_C = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + self._vae.config.batch_norm_eps)

    def decode(self, latents_1SC: torch.Tensor, picture: Grid) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one picture as (H, W, 3) of uint8, and whether all its pixels are finite numbers."""
        work = self._graphs.get(picture)
        decoded = (
            work(latents_1SC) if work is not None else self._decode(latents_1SC, picture, self._vae.decoder)
        )
        return decoded[0], decoded[1]

    def compile(self, compiler: Compiler, picture: Grid) -> None:
        """Compile the decoder for this size, and capture it as one graph."""
        decoder = compiler.compile_copy(self._vae.decoder)
        channels = self._mean_C.shape[1]
        latents_1SC = torch.zeros(
            (1, picture[0] * picture[1], channels), dtype=self._vae.dtype, device=self._device.target
        )
        with _attend_by_products(self._vae.decoder, token_count=4 * latents_1SC.shape[1]):
            self._graphs[picture] = compiler.capture_graph(
                lambda latents: self._decode(latents, picture, decoder), latents_1SC
            )

    def _decode(
        self, latents_1SC: torch.Tensor, picture: Grid, decoder: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        latents_1CHW = latents_1SC.transpose(1, 2).unflatten(2, picture)
        scaled_1CHW = latents_1CHW * self._deviation_C.to(latents_1CHW) + self._mean_C.to(latents_1CHW)
        patches_1CHW = self._pipeline._unpatchify_latents(scaled_1CHW).to(self._vae.dtype)
        if self._vae.post_quant_conv is not None:
            patches_1CHW = self._vae.post_quant_conv(patches_1CHW)
        pixels_1CHW = decoder(patches_1CHW.contiguous(memory_format=torch.channels_last))
        are_numbers = torch.isfinite(pixels_1CHW).all()
        bytes_1CHW = (pixels_1CHW.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return bytes_1CHW[0].permute(1, 2, 0).contiguous(), are_numbers


@contextmanager
def _attend_by_products(decoder: Any, *, token_count: int) -> Iterator[None]:
    """Let the middle block compute its attention as two matrix products, unless there are too many tokens.

    Its one head is wider than torch's fast kernels allow, so the products take less than half of the time.
    """
    attentions = [each for each in decoder.mid_block.attentions if each is not None]
    before = [attention.processor for attention in attentions]
    if token_count <= MAX_PRODUCT_TOKENS:
        for attention in attentions:
            attention.set_processor(AttnProcessor())
    try:
        yield
    finally:
        for attention, processor in zip(attentions, before, strict=True):
            attention.set_processor(processor)
