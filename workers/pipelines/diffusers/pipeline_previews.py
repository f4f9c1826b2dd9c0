"""The previews of pictures that a pipeline of diffusers makes."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from workers.engine import preview_steps
from workers.engine.interface import ImageOrder, StepCallback
from workers.pipelines.diffusers.clean_latents import LastStep, watch_steps
from workers.pipelines.diffusers.latent_tokens import LatentTokens
from workers.pipelines.runtime.device import Device
from workers.pipelines.runtime.latent_previews import Grid, LatentPreviews


class PipelinePreviews:
    """The previews of one architecture's pipelines on one device."""

    def __init__(self, *, tokens: LatentTokens, device: Device) -> None:
        """Take the tokens of the pipelines. There are no previews before `fit`."""
        self._tokens = tokens
        self._device = device
        self._previews = LatentPreviews(device=device, patch_pixels=tokens.patch_pixels)

    def fit(self) -> None:
        """Fit the previews to the VAE, which must not be offloaded yet.

        The fit takes a copy on the device. In half precision some VAEs overflow, so the copy has single precision.
        """
        vae = copy.deepcopy(self._tokens.vae).to(device=self._device.target, dtype=torch.float32)

        def reconstruct(pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._tokens.reconstruct(vae, self._device.to_device(pixels_1CHW))

        with self._device.enter_main_stage():
            self._previews.fit(reconstruct)

    @contextmanager
    def follow(self, pipeline: Any, orders: Sequence[ImageOrder]) -> Iterator[StepCallback]:
        """Give the callback that a call of the pipeline makes after each step, for the previews of these orders."""

        def is_due(done: int) -> bool:
            count = pipeline.num_timesteps
            return any(preview_steps.is_due(order, done=done, step_count=count) for order in orders)

        first = orders[0]
        side = self._tokens.patch_pixels
        grid = (first.height // side, first.width // side)
        if not self._previews.is_fitted or not any(order.preview_count for order in orders):
            yield lambda _done, _step_count: None
            return
        with watch_steps(pipeline.scheduler, is_due=is_due) as last:
            yield partial(self._offer, orders, last, grid)

    def _offer(
        self, orders: Sequence[ImageOrder], last: LastStep, grid: Grid, done: int, step_count: int
    ) -> None:
        if last.latents is not None:
            self._previews.offer(
                orders,
                done=done,
                step_count=step_count,
                find_clean=partial(self._tokens.split, last.latents),
                grid=grid,
            )
