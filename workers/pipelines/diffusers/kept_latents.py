"""The part of a source that a mask keeps, put back into the latents after each step of a pipeline.

As in RePaint (Lugmayr et al. 2022), without its repeated steps: the kept latents are the source's with the noise that
is left after the step, so the model paints the rest to fit. After the last step they are the source's own.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image

from workers.engine.interface import ImageOrder
from workers.pipelines.diffusers.clean_latents import find_shares
from workers.pipelines.diffusers.latent_tokens import LatentTokens
from workers.pipelines.runtime import masked_tokens, noise
from workers.pipelines.runtime.device import Device


class KeptLatents:
    """The kept latents of one order."""

    def __init__(self, *, source: torch.Tensor, is_kept: torch.Tensor, noise: torch.Tensor) -> None:
        """Take the source's latents and its noise, and which latents are kept, in shapes that fit each other."""
        self._source = source
        self._is_kept = is_kept
        self._noise = noise

    def put_back(self, latents: torch.Tensor, *, scheduler: Any, done: int, step_count: int) -> torch.Tensor:
        """Return these latents of a finished step with the kept ones in their places.

        Between the two halves of a step of second order they stay as they are, because the scheduler goes on from its
        own copy.
        """
        if not getattr(scheduler, "state_in_first_order", True):
            return latents
        kept = self._source
        if done < step_count:
            # An edit that starts from its source leaves out the first steps of the schedule.
            next_timestep = scheduler.timesteps[done - step_count]
            signal, rest = find_shares(scheduler, next_timestep, like=kept)
            kept = signal * kept + rest * self._noise
        return torch.where(self._is_kept, kept.to(latents.dtype), latents)


def encode(order: ImageOrder, *, tokens: LatentTokens, device: Device) -> KeptLatents | None:
    """Return the kept latents of the order, or None if it has no mask."""
    if order.mask is None:
        return None
    source = tokens.encode(tokens.vae, device.to_device(_read_pixels(order.sources[0], tokens.vae))).float()
    side = tokens.patch_pixels
    grid = (order.height // side, order.width // side)
    is_kept_HW = torch.from_numpy(masked_tokens.find_kept(order.mask, grid, patch_pixels=side).reshape(grid))
    return KeptLatents(
        source=source,
        is_kept=tokens.spread(device.to_device(is_kept_HW)),
        noise=device.to_device(noise.draw(source.shape, seed=order.seed, dtype=source.dtype)),
    )


def _read_pixels(picture: Image.Image, vae: Any) -> torch.Tensor:
    """Return the pixels (1, 3, H, W) from -1 to 1 in the precision of the VAE."""
    pixels_HWC = torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32))
    pixels_1CHW = (pixels_HWC / (255 / 2) - 1).permute(2, 0, 1)[None].contiguous()
    return pixels_1CHW.to(vae.dtype)
