"""Engines around pipelines that diffusers runs itself: as a whole, or in stages if the adapter supports them.

An adapter knows its pipelines and their arguments. The engines know batches, devices and pixels.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch

from workers.catalogue import ImageModel
from workers.engine.interface import BadOutput, ImageOrder, Picture, PromptTokens, StepCallback
from workers.pipelines.diffusers import kept_latents
from workers.pipelines.diffusers.kept_latents import KeptLatents
from workers.pipelines.diffusers.latent_tokens import LatentTokens
from workers.pipelines.diffusers.options import parse_size
from workers.pipelines.diffusers.pipeline_previews import PipelinePreviews
from workers.pipelines.runtime import compilation, prompt_lengths
from workers.pipelines.runtime.compilation import Compiler, Task, Work
from workers.pipelines.runtime.device import HandedOver
from workers.pipelines.runtime.device_engine import DeviceEngine

# A VAE's decoder, from latents to pixels.
DecoderCall = Callable[[torch.Tensor], torch.Tensor]


class PipelineCall(NamedTuple):
    """A pipeline, and the arguments of a call by their names."""

    pipeline: Any
    arguments: dict[str, Any]


class PipelineAdapter(Protocol):
    """The pipelines of one architecture: one that creates, and perhaps one that edits."""

    @property
    def latent_tokens(self) -> LatentTokens:
        """Return the tokens of the pipelines' latents, for previews and masks."""
        ...

    def build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        """Return the call that makes these pictures: creates of one size, or one edit."""
        ...

    def count_tokens(self, prompt: str) -> PromptTokens:
        """Return how many tokens the prompt has, and how many of them the model reads."""
        ...


class StagedPipelineAdapter(PipelineAdapter, Protocol):
    """An adapter that can encode before a call and decode the latents after it, while other calls run."""

    def encode(self, call: PipelineCall) -> PipelineCall:
        """Return the same call with its prompts and sources encoded."""
        ...

    @property
    def decoder(self) -> torch.nn.Module:
        """Return the VAE's decoder."""
        ...

    def decode_latents(
        self, latents: torch.Tensor, *, height: int, width: int, decoder: DecoderCall
    ) -> torch.Tensor:
        """Return the pixels of a call's latents, as (orders, 3, height, width) from 0 to 1."""
        ...

    def compile_steps(self, compiler: Compiler) -> AbstractContextManager[None]:
        """Return a context for the batches that compile the steps. Nothing more is compiled after it."""
        ...

    def make_trials(
        self, sizes: Sequence[tuple[int, int]], *, max_orders: int
    ) -> Iterator[tuple[str, list[ImageOrder]]]:
        """Yield batches, each with a name for people, after which no step is compiled again for these sizes."""
        ...


class Prepared(NamedTuple):
    """A call whose tensors may not be ready, and the shape (orders, 3, height, width) of its pictures."""

    pipeline: Any
    names: tuple[str, ...]
    values: HandedOver[tuple[Any, ...]]
    shape: tuple[int, int, int, int]
    orders: Sequence[ImageOrder]


class Denoised(NamedTuple):
    """Pixels or latents that may not be ready, and the shape that the pictures must have."""

    output: HandedOver[tuple[torch.Tensor]]
    shape: tuple[int, int, int, int]


class PipelineEngine(DeviceEngine):
    """An Engine that runs a whole pipeline in one stage, and turns pixels into bytes in the next."""

    def __init__(self, *, adapter: PipelineAdapter, model: ImageModel, device: torch.device) -> None:
        """Take an adapter whose pipelines can be called before the first batch."""
        super().__init__(model=model, device=device)
        self._adapter = adapter
        self._previews = PipelinePreviews(tokens=adapter.latent_tokens, device=self._device)

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Return the size of a create, and whether it has a negative prompt.

        An edit goes alone, because its sources would apply to the whole batch.
        """
        # For a pipeline, no negative prompt is another thing than an empty one.
        return None if order.sources else (order.width, order.height, bool(order.negative_prompt))

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """Return the pipeline's arguments."""
        with self._device.enter_side_stage():
            return self._hand_over_call(self._build_call(orders), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """Run the whole pipeline."""
        return self._run_pipeline(prepared, on_step, output_type="pt")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Return the pixels as bytes, converted on the device. Raise BadOutput."""
        with self._device.enter_side_stage():
            [pixels_BCHW] = self._device.take_over(denoised.output)
            return self._make_pictures(pixels_BCHW, denoised.shape)

    def fit_previews(self) -> None:
        """Fit the previews to the VAE before its weights are offloaded. Without it, orders get no previews."""
        self._previews.fit()

    def _build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        keys = {self.batch_key(order) for order in orders}
        if len(orders) > 1 and (len(keys) > 1 or None in keys):
            raise ValueError("a batch must be creates of one size, or one edit")
        prompt_lengths.tell(orders, [self._adapter.count_tokens(order.prompt) for order in orders])
        return self._adapter.build_call(orders)

    def _hand_over_call(self, call: PipelineCall, orders: Sequence[ImageOrder]) -> Prepared:
        first = orders[0]
        values = self._device.hand_over(tuple(call.arguments.values()))
        return Prepared(
            call.pipeline, tuple(call.arguments), values, (len(orders), 3, first.height, first.width), orders
        )

    def _run_pipeline(self, prepared: Prepared, on_step: StepCallback, *, output_type: str) -> Denoised:
        with (
            self._device.enter_main_stage(),
            self._previews.follow(prepared.pipeline, prepared.orders) as offer_previews,
        ):
            kept: KeptLatents | None = None

            def on_step_end(pipeline: Any, step: int, _timestep: Any, tensors: Any) -> dict[str, Any]:
                done, step_count = step + 1, pipeline.num_timesteps
                on_step(done, step_count)
                offer_previews(done, step_count)
                if kept is None:
                    return {}
                latents = tensors["latents"]
                scheduler = pipeline.scheduler
                return {
                    "latents": kept.put_back(latents, scheduler=scheduler, done=done, step_count=step_count)
                }

            arguments = dict(zip(prepared.names, self._device.take_over(prepared.values), strict=True))
            try:
                with self._device.measure_work():
                    kept = kept_latents.encode(
                        prepared.orders[0], tokens=self._adapter.latent_tokens, device=self._device
                    )
                    output = prepared.pipeline(
                        **arguments, output_type=output_type, callback_on_step_end=on_step_end
                    ).images
            except BaseException:
                # After a success, an offloading pipeline does this itself.
                prepared.pipeline.maybe_free_model_hooks()
                raise
            return Denoised(self._device.hand_over((output,)), prepared.shape)

    def _make_pictures(self, pixels_BCHW: torch.Tensor, shape: tuple[int, int, int, int]) -> list[Picture]:
        if tuple(pixels_BCHW.shape) != shape:
            raise BadOutput(
                f"the pipeline returned shape {tuple(pixels_BCHW.shape)} instead of the ordered {shape}"
            )
        are_numbers = torch.isfinite(pixels_BCHW).all()
        bytes_BHWC = pixels_BCHW.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
        pictures, finite = self._device.to_host(bytes_BHWC.contiguous(), are_numbers)
        if not finite:
            raise BadOutput("the pipeline returned pixels that are not finite numbers")
        return [np.asarray(picture) for picture in pictures.numpy()]


class StagedPipelineEngine(PipelineEngine):
    """An Engine that encodes prompts and decodes latents beside the pipeline's calls."""

    _adapter: StagedPipelineAdapter

    def __init__(self, *, adapter: StagedPipelineAdapter, model: ImageModel, device: torch.device) -> None:
        """Take an adapter whose pipelines are on the device."""
        super().__init__(adapter=adapter, model=model, device=device)
        # The decoding of one picture's latents, by height and width.
        self._graphs: dict[tuple[int, int], Work] = {}

    def prepare(self, orders: Sequence[ImageOrder]) -> Prepared:
        """Return the pipeline's arguments, with prompts and sources encoded."""
        with self._device.enter_side_stage(), self._device.measure_work():
            return self._hand_over_call(self._adapter.encode(self._build_call(orders)), orders)

    def denoise(self, prepared: Prepared, *, on_step: StepCallback) -> Denoised:
        """Run the pipeline's steps alone."""
        return self._run_pipeline(prepared, on_step, output_type="latent")

    def decode(self, denoised: Denoised) -> list[Picture]:
        """Return the decoded pixels as bytes, converted on the device. Raise BadOutput."""
        with self._device.enter_side_stage():
            [latents] = self._device.take_over(denoised.output)
            with self._device.measure_work():
                # One picture fills a GPU. Decoded alone, it does not depend on the others.
                pixels = [
                    self._decode_latents(latents_1, denoised.shape[2:]) for latents_1 in latents.split(1)
                ]
                return self._make_pictures(torch.cat(pixels), denoised.shape)

    def compile(self, *, backend: str | None = "inductor") -> None:
        """Compile the sizes that the model's entry names, as the adapter does it; of other sizes, only the steps.

        This takes minutes and is logged. It must be called once, before the first batch; nothing is compiled later.
        Raise EngineError. `backend` is torch.compile's; with None, nothing is fused and only graphs are captured.
        """
        # The adapter has validated its options.
        named = cast(list[str], self._model.options["compile"])
        sizes = [parse_size(size) for size in named]
        # Stages run in threads side by side, so their graphs must not share memory.
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
            # All steps are alike, so the pipeline may leave out the others.
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
