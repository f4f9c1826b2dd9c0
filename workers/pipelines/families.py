"""Engines around pipelines that diffusers runs itself: called whole, or in stages where their family says how.

A family knows its pipelines and their arguments; what is here knows batches, devices, and what a picture is.
"""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from workers.catalogue import ImageModel
from workers.engine import BadOutput, ImageOrder, Picture, StepCallback
from workers.pipelines.device import Device, Passed


class Call(NamedTuple):
    """A pipeline, and by their names what it is called with."""

    pipeline: Any
    arguments: dict[str, Any]


class Family(Protocol):
    """Pipelines of one architecture: one that creates, and perhaps one that edits."""

    def call(self, orders: Sequence[ImageOrder]) -> Call:
        """What makes these pictures: creates of one size, or one edit."""
        ...


class StagedFamily(Family, Protocol):
    """A family whose calls can be begun ahead and end with latents, while other calls run."""

    def encoded(self, call: Call) -> Call:
        """The same call, with prompts and sources encoded."""
        ...

    def pixels(self, latents: torch.Tensor, *, height: int, width: int) -> torch.Tensor:
        """What a call's latents show, as (orders, 3, height, width) from 0 to 1."""
        ...


class Prepared(NamedTuple):
    """A call whose tensors may still be on their way, and the shape (orders, 3, height, width) of its pictures."""

    pipeline: Any
    names: tuple[str, ...]
    values: Passed[tuple[Any, ...]]
    shape: tuple[int, int, int, int]


class Denoised(NamedTuple):
    """Pixels or latents that may still be on their way, and the shape of the pictures that they are to be."""

    made: Passed[tuple[torch.Tensor]]
    shape: tuple[int, int, int, int]


class Whole:
    """An Engine that calls a pipeline from prompt to pixels in one stage, and turns pixels into bytes in the next."""

    def __init__(self, *, family: Family, model: ImageModel, device: torch.device) -> None:
        """Takes a family whose pipelines can be called at once."""
        self._family = family
        self._batch_limit = model.batch_limit
        self._device = Device(device)

    @property
    def batch_limit(self) -> int:
        """How many orders are made together at most."""
        return self._batch_limit

    @property
    def device_name(self) -> str:
        """What it works on, for people."""
        return self._device.name

    @property
    def busy_seconds(self) -> float:
        """How long the device has worked in all."""
        return self._device.busy_seconds

    def batch_key(self, order: ImageOrder) -> Hashable:
        """An edit goes alone: its sources would belong to the whole batch."""
        return None if order.sources else (order.width, order.height)

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """The pipeline's arguments."""
        with self._device.beside():
            return self._prepared(self._call(orders), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """All that the pipeline does."""
        return self._called(prepared, on_step, output_type="pt")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Bytes, made on the device. Raises BadOutput."""
        with self._device.beside():
            [pixels_BCHW] = self._device.received(denoised.made)
            return self._pictures(pixels_BCHW, denoised.shape)

    def _call(self, orders: Sequence[ImageOrder]) -> Call:
        keys = {self.batch_key(order) for order in orders}
        if len(orders) > 1 and (len(keys) > 1 or None in keys):
            raise ValueError("a batch is of creates of one size, or one edit")
        return self._family.call(orders)

    def _prepared(self, call: Call, orders: Sequence[ImageOrder]) -> Prepared:
        first = orders[0]
        values = self._device.passed(tuple(call.arguments.values()))
        return Prepared(
            call.pipeline, tuple(call.arguments), values, (len(orders), 3, first.height, first.width)
        )

    def _called(self, prepared: Prepared, on_step: StepCallback, *, output_type: str) -> Denoised:
        def on_step_end(pipeline: Any, step: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
            on_step(step + 1, pipeline.num_timesteps)
            return {}

        with self._device.main():
            arguments = dict(zip(prepared.names, self._device.received(prepared.values), strict=True))
            try:
                with self._device.working():
                    made = prepared.pipeline(
                        **arguments, output_type=output_type, callback_on_step_end=on_step_end
                    ).images
            except BaseException:
                # At its end a pipeline takes its models back from the device, if it has brought them there.
                prepared.pipeline.maybe_free_model_hooks()
                raise
            return Denoised(self._device.passed((made,)), prepared.shape)

    def _pictures(self, pixels_BCHW: torch.Tensor, shape: tuple[int, int, int, int]) -> list[Picture]:
        if tuple(pixels_BCHW.shape) != shape:
            raise BadOutput(f"the pipeline made {tuple(pixels_BCHW.shape)} of the ordered {shape}")
        are_numbers = torch.isfinite(pixels_BCHW).all()
        bytes_BHWC = pixels_BCHW.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
        pictures, finite = self._device.fetched(bytes_BHWC.contiguous(), are_numbers)
        if not finite:
            raise BadOutput("the pipeline made pixels that are no numbers")
        return [np.asarray(picture) for picture in pictures.numpy()]


class Staged(Whole):
    """An Engine whose prompts are encoded and whose latents are decoded beside the pipeline's calls."""

    _family: StagedFamily

    def __init__(self, *, family: StagedFamily, model: ImageModel, device: torch.device) -> None:
        """Takes a family whose pipelines are on the device."""
        super().__init__(family=family, model=model, device=device)

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """The pipeline's arguments, prompts and sources encoded."""
        with self._device.beside(), self._device.working():
            return self._prepared(self._family.encoded(self._call(orders)), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """The pipeline's steps, and nothing after them."""
        return self._called(prepared, on_step, output_type="latent")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Pixels, turned into bytes on the device. Raises BadOutput."""
        with self._device.beside():
            [latents] = self._device.received(denoised.made)
            _, _, height, width = denoised.shape
            with self._device.working():
                pixels_BCHW = self._family.pixels(latents, height=height, width=width)
                return self._pictures(pixels_BCHW, denoised.shape)
