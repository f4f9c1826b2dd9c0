"""Engines around pipelines that diffusers runs itself: called whole, or in stages where their family says how.

A family knows its pipelines and their arguments; what is here knows batches, devices, and what a picture is.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch

from workers.catalogue import ImageModel
from workers.engine.interface import BadOutput, ImageOrder, Picture, StepCallback
from workers.pipelines.diffusers.options import parse_size
from workers.pipelines.runtime import compilation
from workers.pipelines.runtime.compilation import Compiler, Task, Work
from workers.pipelines.runtime.device import HandedOver
from workers.pipelines.runtime.device_engine import DeviceEngine

# A VAE's, from latents to pixels.
DecoderCall = Callable[[torch.Tensor], torch.Tensor]


class PipelineCall(NamedTuple):
    """A pipeline, and by their names what it is called with."""

    pipeline: Any
    arguments: dict[str, Any]


class PipelineAdapter(Protocol):
    """Pipelines of one architecture: one that creates, and perhaps one that edits."""

    def build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        """What makes these pictures: creates of one size, or one edit."""
        ...


class StagedPipelineAdapter(PipelineAdapter, Protocol):
    """A family whose calls can be begun ahead and end with latents, while other calls run."""

    def encode(self, call: PipelineCall) -> PipelineCall:
        """The same call, with prompts and sources encoded."""
        ...

    @property
    def decoder(self) -> torch.nn.Module:
        """The VAE's."""
        ...

    def decode_latents(
        self, latents: torch.Tensor, *, height: int, width: int, decoder: DecoderCall
    ) -> torch.Tensor:
        """What a call's latents show, as (orders, 3, height, width) from 0 to 1."""
        ...

    def compile_steps(self, compiler: Compiler) -> AbstractContextManager[None]:
        """Around the batches that its steps are compiled by; what is compiled must not be added to later."""
        ...

    def make_trials(
        self, sizes: Sequence[tuple[int, int]], *, max_orders: int
    ) -> Iterator[tuple[str, list[ImageOrder]]]:
        """Batches, with what people call them, of which no step must be compiled again for sizes that are named."""
        ...


class Prepared(NamedTuple):
    """A call whose tensors may still be on their way, and the shape (orders, 3, height, width) of its pictures."""

    pipeline: Any
    names: tuple[str, ...]
    values: HandedOver[tuple[Any, ...]]
    shape: tuple[int, int, int, int]


class Denoised(NamedTuple):
    """Pixels or latents that may still be on their way, and the shape of the pictures that they are to be."""

    output: HandedOver[tuple[torch.Tensor]]
    shape: tuple[int, int, int, int]


class PipelineEngine(DeviceEngine):
    """An Engine that calls a pipeline from prompt to pixels in one stage, and turns pixels into bytes in the next."""

    def __init__(self, *, adapter: PipelineAdapter, model: ImageModel, device: torch.device) -> None:
        """Takes a family whose pipelines can be called at once."""
        super().__init__(model=model, device=device)
        self._adapter = adapter

    def batch_key(self, order: ImageOrder) -> Hashable:
        """An edit goes alone: its sources would belong to the whole batch."""
        return None if order.sources else (order.width, order.height)

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """The pipeline's arguments."""
        with self._device.enter_side_stage():
            return self._hand_over_call(self._call(orders), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """All that the pipeline does."""
        return self._run_pipeline(prepared, on_step, output_type="pt")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Bytes, made on the device. Raises BadOutput."""
        with self._device.enter_side_stage():
            [pixels_BCHW] = self._device.take_over(denoised.output)
            return self._make_pictures(pixels_BCHW, denoised.shape)

    def _call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        keys = {self.batch_key(order) for order in orders}
        if len(orders) > 1 and (len(keys) > 1 or None in keys):
            raise ValueError("a batch is of creates of one size, or one edit")
        return self._adapter.build_call(orders)

    def _hand_over_call(self, call: PipelineCall, orders: Sequence[ImageOrder]) -> Prepared:
        first = orders[0]
        values = self._device.hand_over(tuple(call.arguments.values()))
        return Prepared(
            call.pipeline, tuple(call.arguments), values, (len(orders), 3, first.height, first.width)
        )

    def _run_pipeline(self, prepared: Prepared, on_step: StepCallback, *, output_type: str) -> Denoised:
        def on_step_end(pipeline: Any, step: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
            on_step(step + 1, pipeline.num_timesteps)
            return {}

        with self._device.enter_main_stage():
            arguments = dict(zip(prepared.names, self._device.take_over(prepared.values), strict=True))
            try:
                with self._device.measure_work():
                    output = prepared.pipeline(
                        **arguments, output_type=output_type, callback_on_step_end=on_step_end
                    ).images
            except BaseException:
                # At its end a pipeline takes its models back from the device, if it has brought them there.
                prepared.pipeline.maybe_free_model_hooks()
                raise
            return Denoised(self._device.hand_over((output,)), prepared.shape)

    def _make_pictures(self, pixels_BCHW: torch.Tensor, shape: tuple[int, int, int, int]) -> list[Picture]:
        if tuple(pixels_BCHW.shape) != shape:
            raise BadOutput(f"the pipeline made {tuple(pixels_BCHW.shape)} of the ordered {shape}")
        are_numbers = torch.isfinite(pixels_BCHW).all()
        bytes_BHWC = pixels_BCHW.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
        pictures, finite = self._device.to_host(bytes_BHWC.contiguous(), are_numbers)
        if not finite:
            raise BadOutput("the pipeline made pixels that are no numbers")
        return [np.asarray(picture) for picture in pictures.numpy()]


class StagedPipelineEngine(PipelineEngine):
    """An Engine whose prompts are encoded and whose latents are decoded beside the pipeline's calls."""

    _adapter: StagedPipelineAdapter

    def __init__(self, *, adapter: StagedPipelineAdapter, model: ImageModel, device: torch.device) -> None:
        """Takes a family whose pipelines are on the device."""
        super().__init__(adapter=adapter, model=model, device=device)
        # By height and width: what makes pixels of one picture's latents.
        self._graphs: dict[tuple[int, int], Work] = {}

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """The pipeline's arguments, prompts and sources encoded."""
        with self._device.enter_side_stage(), self._device.measure_work():
            return self._hand_over_call(self._adapter.encode(self._call(orders)), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """The pipeline's steps, and nothing after them."""
        return self._run_pipeline(prepared, on_step, output_type="latent")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Pixels, turned into bytes on the device. Raises BadOutput."""
        with self._device.enter_side_stage():
            [latents] = self._device.take_over(denoised.output)
            with self._device.measure_work():
                # One by one: a picture fills a GPU, and what it looks like then depends on nothing else.
                pixels = [
                    self._decode_latents(latents_1, denoised.shape[2:]) for latents_1 in latents.split(1)
                ]
                return self._make_pictures(torch.cat(pixels), denoised.shape)

    def compile(self, *, backend: str | None = "inductor") -> None:
        """Makes what the model's entry names fast, as its family does it: of other sizes, only the steps.

        Takes minutes, and says so. To be called once, before the first batch; nothing is compiled after it. Raises
        EngineError. `backend` is torch.compile's; without one nothing is fused, and only graphs are recorded.
        """
        # The family has read its options: what is named there are sizes.
        named = cast(list[str], self._model.options["compile"])
        sizes = [parse_size(size) for size in named]
        # What runs in different threads runs side by side and cannot share memory.
        for_steps = Compiler(self._device, backend=backend)
        for_pictures = Compiler(self._device, backend=backend)
        decoder = for_pictures.compile_copy(self._adapter.decoder)
        with self._adapter.compile_steps(for_steps):
            tasks: list[Task] = [
                (name, partial(self._run_trial, orders, sizes, for_pictures, decoder))
                for name, orders in self._adapter.make_trials(sizes, max_orders=self.batch_limit)
            ]
            compilation.run_tasks(self._model.name, tasks)

    def _run_trial(
        self,
        orders: Sequence[ImageOrder],
        sizes: Sequence[tuple[int, int]],
        compiler: Compiler,
        decoder: DecoderCall,
    ) -> None:
        prepared = self.prepare(orders)

        def end(_done: int, _steps: int) -> None:
            # All steps are alike: the pipeline leaves out those that follow.
            prepared.pipeline._interrupt = True

        [latents] = self.denoise(prepared, on_step=end).output.tensors
        _, _, height, width = prepared.shape
        if (width, height) in sizes and (height, width) not in self._graphs:
            work = partial(self._decode_with, decoder, height, width)
            with self._device.enter_main_stage():
                self._graphs[height, width] = compiler.capture_graph(work, latents[:1])

    def _decode_latents(self, latents_1: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        work = self._graphs.get(size) or partial(self._decode_with, self._adapter.decoder, *size)
        return work(latents_1)[0]

    def _decode_with(
        self, decoder: DecoderCall, height: int, width: int, latents_1: torch.Tensor
    ) -> tuple[torch.Tensor]:
        return (self._adapter.decode_latents(latents_1, height=height, width=width, decoder=decoder),)
