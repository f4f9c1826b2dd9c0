"""The decoder from FLUX.2's latents to the bytes of pictures, on the device.

Shapes: S tokens of a picture, C channels of a token, H by W pixels. Pictures are decoded one by one. One picture
fills a GPU, and decoded alone it does not depend on the others.
"""

from collections.abc import Callable

import torch
from diffusers import Flux2KleinPipeline

from workers.pipelines.flux2.transformer import Grid
from workers.pipelines.runtime.compilation import Compiler, Work
from workers.pipelines.runtime.device import Device


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
