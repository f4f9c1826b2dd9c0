"""The latents of diffusers' pipelines as tokens, each of which is a square of the picture.

Shapes: B orders, S tokens, C channels of a token, F frames, H by W pixels or latents.
"""

from typing import Any, Protocol

import torch


class LatentTokens(Protocol):
    """The tokens of one architecture."""

    @property
    def vae(self) -> torch.nn.Module:
        """Return the pipelines' VAE."""
        ...

    @property
    def patch_pixels(self) -> int:
        """Return the width and height of a token in pixels."""
        ...

    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents of a pipeline's steps as tokens, (B, S, C)."""
        ...

    def reconstruct(self, vae: Any, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode pixels from -1 to 1 by this copy of the VAE, and decode them again.

        Return the tokens (1, S, C), and the decoded values (H, W, 3) from 0 to 255.
        """
        ...


class PipelineTokens:
    """The part of LatentTokens that is the same for every pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @property
    def vae(self) -> torch.nn.Module:
        """Return the pipelines' VAE."""
        vae: torch.nn.Module = self._pipeline.vae
        return vae


class PackedTokens(PipelineTokens):
    """The part that is the same for pipelines that pack squares of latents themselves."""

    @property
    def patch_pixels(self) -> int:
        """Return the width and height of a token in pixels."""
        return 2 * int(self._pipeline.vae_scale_factor)

    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the packed latents as they are."""
        return latents


class StableDiffusionXLTokens(PipelineTokens):
    """The LatentTokens of Stable Diffusion XL: each latent is a token."""

    @property
    def patch_pixels(self) -> int:
        """Return the width and height of a token in pixels."""
        return int(self._pipeline.vae_scale_factor)

    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents (B, C, H, W) as tokens."""
        return latents.flatten(2).transpose(1, 2)

    def reconstruct(self, vae: Any, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of these pixels, and the pixels that the VAE makes of them."""
        latents_1CHW = vae.encode(pixels_1CHW).latent_dist.mode()
        # Some models derived from XL name a mean and a deviation of each channel.
        mean_C, deviation_C = (
            torch.tensor(getattr(vae.config, name, None) or default).view(-1, 1, 1).to(latents_1CHW)
            for name, default in (("latents_mean", 0.0), ("latents_std", 1.0))
        )
        scaled_1CHW = (latents_1CHW - mean_C) / deviation_C * vae.config.scaling_factor
        return self.split(scaled_1CHW), to_bytes(vae.decode(latents_1CHW).sample)


class QwenImageTokens(PackedTokens):
    """The LatentTokens of Qwen-Image, whose pipelines pack squares of latents themselves."""

    def reconstruct(self, vae: Any, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of these pixels, and the pixels that the VAE makes of them. A picture is one frame."""
        latents_1CFHW = vae.encode(pixels_1CHW[:, :, None]).latent_dist.mode()
        mean_C, deviation_C = (
            torch.tensor(values).view(-1, 1, 1, 1).to(latents_1CFHW)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        scaled_1CHW = ((latents_1CFHW - mean_C) / deviation_C)[:, :, 0].contiguous()
        tokens_1SC = self._pipeline._pack_latents(scaled_1CHW, *scaled_1CHW.shape)
        return tokens_1SC, to_bytes(vae.decode(latents_1CFHW).sample[:, :, 0])


def to_bytes(pixels_1CHW: torch.Tensor) -> torch.Tensor:
    """Return pixels from -1 to 1 as values (H, W, 3) from 0 to 255, which are not rounded."""
    return (pixels_1CHW[0].clamp(-1, 1) + 1).mul(255 / 2).permute(1, 2, 0)
