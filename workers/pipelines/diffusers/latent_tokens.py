"""The latents of diffusers' pipelines as tokens, each of which is a square of the picture.

Shapes: B orders, S tokens, C channels of a token, F frames, H by W pixels or latents. The latents of a pipeline's steps
are (B, S, C) where it packs squares of latents, and (B, C, H, W) where it does not.
"""

from abc import ABC, abstractmethod
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

    def spread(self, values_HW: torch.Tensor) -> torch.Tensor:
        """Return a value for each token in a shape that fits the latents of a pipeline's steps."""
        ...

    def encode(self, vae: Any, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        """Encode pixels from -1 to 1 by this VAE, and return the latents as those of a pipeline's last step."""
        ...

    def reconstruct(self, vae: Any, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode pixels from -1 to 1 by this copy of the VAE, and decode them again.

        Return the tokens (1, S, C), and the decoded values (H, W, 3) from 0 to 255.
        """
        ...


class PipelineTokens(ABC):
    """The part of LatentTokens that is the same for every pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @property
    def vae(self) -> torch.nn.Module:
        """Return the pipelines' VAE."""
        vae: torch.nn.Module = self._pipeline.vae
        return vae

    def encode(self, vae: Any, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        """Encode pixels from -1 to 1 by this VAE, and return the latents as those of a pipeline's last step."""
        return self._scale(vae, self._encode(vae, pixels_1CHW))

    def reconstruct(self, vae: Any, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of these pixels, and the pixels that the VAE makes of them."""
        of_vae = self._encode(vae, pixels_1CHW)
        return self.split(self._scale(vae, of_vae)), to_bytes(self._decode(vae, of_vae))

    @abstractmethod
    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents of a pipeline's steps as tokens, (B, S, C)."""

    @abstractmethod
    def _scale(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        """Return the VAE's own latents as those of a pipeline's steps."""

    def _encode(self, vae: Any, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        """Return the VAE's own latents."""
        of_vae: torch.Tensor = vae.encode(pixels_1CHW).latent_dist.mode()
        return of_vae

    def _decode(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        """Return the pixels (1, C, H, W) from -1 to 1 of the VAE's own latents."""
        pixels_1CHW: torch.Tensor = vae.decode(of_vae).sample
        return pixels_1CHW


class PackedTokens(PipelineTokens):
    """The part that is the same for pipelines that pack squares of latents themselves."""

    @property
    def patch_pixels(self) -> int:
        """Return the width and height of a token in pixels."""
        return 2 * int(self._pipeline.vae_scale_factor)

    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the packed latents as they are."""
        return latents

    def spread(self, values_HW: torch.Tensor) -> torch.Tensor:
        """Return a value for each token, (1, S, 1)."""
        return values_HW.reshape(1, -1, 1)


class StableDiffusionXLTokens(PipelineTokens):
    """The LatentTokens of Stable Diffusion XL: each latent is a token."""

    @property
    def patch_pixels(self) -> int:
        """Return the width and height of a token in pixels."""
        return int(self._pipeline.vae_scale_factor)

    def split(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents (B, C, H, W) as tokens."""
        return latents.flatten(2).transpose(1, 2)

    def spread(self, values_HW: torch.Tensor) -> torch.Tensor:
        """Return a value for each latent, (1, 1, H, W)."""
        return values_HW[None, None]

    def encode(self, vae: Any, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        """Encode in single precision, as the pipelines do it, what would overflow in half precision."""
        if not vae.config.force_upcast or vae.dtype != torch.float16:
            return super().encode(vae, pixels_1CHW)
        vae.to(torch.float32)
        try:
            return super().encode(vae, pixels_1CHW.float())
        finally:
            vae.to(torch.float16)

    def _scale(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        # Some models derived from XL name a mean and a deviation of each channel.
        mean_C, deviation_C = (
            torch.tensor(getattr(vae.config, name, None) or default).view(-1, 1, 1).to(of_vae)
            for name, default in (("latents_mean", 0.0), ("latents_std", 1.0))
        )
        scaled_1CHW: torch.Tensor = (of_vae - mean_C) / deviation_C * vae.config.scaling_factor
        return scaled_1CHW


class QwenImageTokens(PackedTokens):
    """The LatentTokens of Qwen-Image, whose pipelines pack squares of latents themselves."""

    # For the VAE, a picture is a video of one frame.

    def _encode(self, vae: Any, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        return super()._encode(vae, pixels_1CHW[:, :, None])

    def _decode(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        return super()._decode(vae, of_vae)[:, :, 0]

    def _scale(self, vae: Any, of_vae: torch.Tensor) -> torch.Tensor:
        mean_C, deviation_C = (
            torch.tensor(values).view(-1, 1, 1, 1).to(of_vae)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        scaled_1CHW = ((of_vae - mean_C) / deviation_C)[:, :, 0].contiguous()
        tokens_1SC: torch.Tensor = self._pipeline._pack_latents(scaled_1CHW, *scaled_1CHW.shape)
        return tokens_1SC


def to_bytes(pixels_1CHW: torch.Tensor) -> torch.Tensor:
    """Return pixels from -1 to 1 as values (H, W, 3) from 0 to 255, which are not rounded."""
    return (pixels_1CHW[0].clamp(-1, 1) + 1).mul(255 / 2).permute(1, 2, 0)
