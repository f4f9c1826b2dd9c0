"""The engine for FLUX.2-klein and for the small pipeline of the same classes: diffusers' parts, driven in stages.

It makes the same pictures as Flux2KleinPipeline. Knows no job, no price and no stored file.
"""

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from diffusers import Flux2KleinPipeline

from workers.catalogue import ImageModel
from workers.engine.interface import BadOutput, Engine, ImageOrder, Misconfigured, Picture, StepCallback
from workers.engine.options import (
    Option,
    is_boolean,
    is_one_of,
    is_text,
    is_whole_number,
    read,
)
from workers.pipelines.diffusers.engine import PipelineEngine
from workers.pipelines.diffusers.options import COMPILE_OPTIONS, parse_size
from workers.pipelines.flux2.decoder import Decoder
from workers.pipelines.flux2.offloaded import OffloadedFlux2Klein
from workers.pipelines.flux2.prompt_template import END, MIDDLE, PromptTemplate
from workers.pipelines.flux2.reference_images import ORDERED, OWN, ReferenceImageEncoder
from workers.pipelines.flux2.text_encoder import PromptEncoder, load_text_encoder
from workers.pipelines.flux2.transformer import FlowSampler, Grid, Layout, RotaryEmbedding
from workers.pipelines.runtime import compilation, float8, loading, masked_tokens, noise, prompt_lengths
from workers.pipelines.runtime.attention import FASTEST
from workers.pipelines.runtime.compilation import Compiler, Task
from workers.pipelines.runtime.device import MAIN_PRIORITY, SIDE_PRIORITY, HandedOver
from workers.pipelines.runtime.device_engine import DeviceEngine
from workers.pipelines.runtime.latent_previews import LatentPreviews


def _are_layers(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(type(layer) is int and layer >= 0 for layer in value)
    )


FLOAT8: Final = "float8"
OPTIONS: Final = {
    # The encoding of the prompt. The defaults are the pipeline's own.
    "max_sequence_length": Option(512, is_whole_number(minimum=1, maximum=4096)),
    "text_encoder_out_layers": Option([9, 18, 27], _are_layers),
    # The part of a prompt that is left out if it is too long. The pipeline leaves out the end.
    "prompt_cut": Option(END, is_one_of((END, MIDDLE))),
    # The shape in which the transformer gets sources. A model that learned equal shapes alone needs the ordered one.
    "source_shape": Option(OWN, is_one_of((OWN, ORDERED))),
    # A backend by diffusers' name, or the fastest of torch's own.
    "attention": Option(FASTEST, is_text),
    **COMPILE_OPTIONS,
    # Whether the compiler tries many variants of each kernel, which takes minutes more.
    "compile_tuned": Option(False, is_boolean),
    # Whether each named size has kernels of its own, which takes minutes more.
    "compile_each_size": Option(False, is_boolean),
    # The precision of the transformer's products. `float8` is faster, and changes pictures a little.
    "precision": Option("weights", is_one_of(("weights", FLOAT8))),
}
# torch.compile's own options for `compile_tuned`.
TUNING: Final = {"coordinate_descent_tuning": True, "conv_1x1_as_mm": True}
# A picture that shows how much a lower precision changes, and the bound for the relative change of its latents. The
# demo model's pictures change by 0.04 to 0.08.
SAMPLE_ORDER: Final = ImageOrder(prompt="a red boat on the sea at sunset", width=512, height=512, seed=0)
MAX_FLOAT8_DIFFERENCE: Final = 0.2
LARGE_SIZE: Final = (1024, 1024)

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """A batch as the transformer takes it.

    Shapes: B orders, L tokens of text, S of the picture, R of the sources.
    """

    text_BLD: torch.Tensor
    noise_BSC: torch.Tensor
    sources_BRC: torch.Tensor | None
    kept_BSC: torch.Tensor | None
    is_kept_BS1: torch.Tensor | None
    cosines: torch.Tensor
    sines: torch.Tensor
    layout: Layout
    size: tuple[int, int]
    orders: Sequence[ImageOrder]


class Denoised(NamedTuple):
    """The transformer's result for a batch: each order's latents, and the size in pixels of its picture."""

    latents_BSC: torch.Tensor
    picture: Grid
    size: tuple[int, int]


class Flux2Klein(DeviceEngine):
    """An Engine on one device. Orders go together if their size and their sources' sizes are equal."""

    def __init__(self, *, pipeline: Flux2KleinPipeline, model: ImageModel) -> None:
        """Take a pipeline that is on its device already. Raise EngineError for invalid options."""
        super().__init__(model=model, device=pipeline.device)
        options = read(model, OPTIONS)
        if pipeline.scheduler.config.get("stochastic_sampling"):
            raise Misconfigured(
                f"the model {model.name} has a scheduler that adds noise, which this adapter does not support"
            )
        self._pipeline = pipeline
        self._patch_pixels = 2 * pipeline.vae_scale_factor
        length: int = options["max_sequence_length"]
        self._text_length = length
        self._sampler = FlowSampler(
            pipeline=pipeline,
            device=self._device,
            steps=model.steps,
            text_length=length,
            compiles_each_size=options["compile_each_size"],
        )
        self._prompt_encoder = PromptEncoder(
            pipeline=pipeline,
            device=self._device,
            length=length,
            template=_make_template(pipeline, options),
            out_layers=options["text_encoder_out_layers"],
            embed=self._sampler.embed_text,
        )
        self._reference_encoder = ReferenceImageEncoder(
            pipeline=pipeline,
            device=self._device,
            patch_pixels=self._patch_pixels,
            shape=options["source_shape"],
        )
        self._decoder = Decoder(pipeline=pipeline, device=self._device)
        self._previews = LatentPreviews(device=self._device, patch_pixels=self._patch_pixels)

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Return the order's size and its sources' token grids, which decide the shape of all tensors."""
        is_masked = () if order.mask is None else ("masked",)
        return (order.width, order.height, *self._reference_encoder.compute_grids(order), *is_masked)

    def limit_batch(self, order: ImageOrder) -> int:
        """Return how many such orders need at most the memory of `batch_limit` creates of 1024x1024."""
        grids = [self._make_grid(order.width, order.height), *self._reference_encoder.compute_grids(order)]
        large = self._make_grid(*LARGE_SIZE)
        tokens, large_tokens = (
            self._text_length + sum(rows * columns for rows, columns in each) for each in (grids, [large])
        )
        return max(1, min(self.batch_limit, self.batch_limit * large_tokens // tokens))

    def prepare(self, orders: Sequence[ImageOrder]) -> HandedOver[Prepared]:
        """Encode prompts and sources that no earlier batch had, and draw the noise."""
        first = orders[0]
        if len({self.batch_key(order) for order in orders}) > 1:
            raise ValueError("a batch must be of one size, with sources of the same sizes")
        picture = self._make_grid(first.width, first.height)
        layout = Layout(picture, self._reference_encoder.compute_grids(first))
        with self._device.enter_side_stage():
            rotary = self._sampler.compute_rotary(layout)
            prompts = self._prompt_encoder.encode([order.prompt for order in orders])
            prompt_lengths.tell(orders, prompts.tokens)
            sources_BRC = self._reference_encoder.encode(orders)
            kept_BSC, is_kept_BS1 = self._encode_kept(orders, picture)
            prepared = Prepared(
                text_BLD=prompts.text_BLD,
                # The host draws it while the device encodes.
                noise_BSC=self._draw_noise(orders, picture),
                sources_BRC=sources_BRC,
                kept_BSC=kept_BSC,
                is_kept_BS1=is_kept_BS1,
                cosines=rotary.cosines,
                sines=rotary.sines,
                layout=layout,
                size=(first.width, first.height),
                orders=orders,
            )
            return self._device.hand_over(prepared)

    def denoise(self, prepared: HandedOver[Prepared], *, on_step: StepCallback) -> HandedOver[Denoised]:
        """Take Euler steps along the flow, as the pipeline's scheduler does; the host waits for no step."""
        with self._device.enter_main_stage():
            batch = self._device.take_over(prepared)
            latents_BSC, rotary = batch.noise_BSC, RotaryEmbedding(batch.cosines, batch.sines)
            steps = self._sampler.compute_steps(batch.layout.picture)
            steps_ahead = self._sampler.compute_steps_ahead(batch.layout.picture)
            noise_left = self._sampler.compute_noise_left(batch.layout.picture)
            with self._device.measure_work():
                for done, step in enumerate(steps, start=1):
                    before_BSC = latents_BSC
                    latents_BSC = self._sampler.step(
                        before_BSC,
                        batch.text_BLD,
                        batch.sources_BRC,
                        layout=batch.layout,
                        rotary=rotary,
                        step=step,
                    )
                    if batch.kept_BSC is not None and batch.is_kept_BS1 is not None:
                        noisy_BSC = torch.lerp(batch.kept_BSC, batch.noise_BSC, noise_left[done - 1])
                        latents_BSC = torch.where(batch.is_kept_BS1, noisy_BSC, latents_BSC)
                    on_step(done, len(steps))
                    self._previews.offer(
                        batch.orders,
                        done=done,
                        step_count=len(steps),
                        find_clean=partial(_go_on, before_BSC, latents_BSC, steps_ahead[done - 1]),
                        grid=batch.layout.picture,
                    )
            return self._device.hand_over(Denoised(latents_BSC, batch.layout.picture, batch.size))

    def decode(self, denoised: HandedOver[Denoised]) -> list[Picture]:
        """Return the pixels as bytes, converted on the device. Raise BadOutput."""
        with self._device.enter_side_stage():
            batch = self._device.take_over(denoised)
            with self._device.measure_work():
                decoded = [
                    self._decoder.decode(latents_1SC, batch.picture)
                    for latents_1SC in batch.latents_BSC.split(1)
                ]
                on_host = self._device.to_host(*(tensor for pair in decoded for tensor in pair))
        pictures, are_numbers = on_host[::2], on_host[1::2]
        width, height = batch.size
        rows, columns = (count * self._patch_pixels for count in self._make_grid(width, height))
        if tuple(pictures[0].shape) != (rows, columns, 3):
            raise BadOutput(
                f"the decoder returned shape {tuple(pictures[0].shape)} for the ordered {width}x{height}"
            )
        if not all(are_numbers):
            raise BadOutput("the decoder returned pixels that are not finite numbers")
        return [np.ascontiguousarray(picture.numpy()[:height, :width]) for picture in pictures]

    def choose_precision(self) -> None:
        """Compute the transformer's products as the option says. Raise EngineError if a picture changes too much."""
        if read(self._model, OPTIONS)["precision"] != FLOAT8:
            return
        transformer = self._pipeline.transformer
        before = self._make_sample_latents()
        float8.replace_linears(
            [*transformer.transformer_blocks, *transformer.single_transformer_blocks],
            device=self._device.target,
        )
        difference = float((self._make_sample_latents() - before).norm() / before.norm())
        log.info(
            "%s with precision = float8 changes a picture's latents by %.3f", self._model.name, difference
        )
        if not difference <= MAX_FLOAT8_DIFFERENCE:
            raise Misconfigured(
                f"the model {self._model.name} cannot have precision = {FLOAT8!r}: it changes a picture by"
                f" {difference:.2f}, more than {MAX_FLOAT8_DIFFERENCE}; leave the option out"
            )

    def choose_attention(self) -> None:
        """Select the attention backend: the option's, or the fastest here. Raise EngineError."""
        with self._device.enter_main_stage():
            self._sampler.select_attention(
                read(self._model, OPTIONS)["attention"], model_name=self._model.name
            )

    def fit_previews(self) -> None:
        """Fit the previews to this model's VAE. Without it, orders get no previews."""
        with self._device.enter_main_stage():
            self._previews.fit(self._reconstruct)

    def compile(self, *, backend: str | None = "inductor", until: float = math.inf) -> list[str]:
        """Compile the sizes that the model's entry names; of other sizes, only the blocks are compiled.

        This takes minutes and is logged. It must be called once, before the first batch; nothing is compiled later.
        Raise EngineError. `backend` is torch.compile's; with None, nothing is fused and only graphs are captured.
        Nothing is begun after `until`, on the monotonic clock. Return the names of what was compiled.
        """
        with self._device.enter_main_stage():
            return compilation.run_tasks(self._model.name, self._list_tasks(backend), until=until)

    def _list_tasks(self, backend: str | None) -> list[Task]:
        # Stages run in threads side by side, so their graphs must not share memory.
        is_tuned = read(self._model, OPTIONS)["compile_tuned"] and backend == "inductor"
        tuning = TUNING if is_tuned else None
        for_prompts, for_steps, for_pictures = (
            Compiler(self._device, backend=backend, options=tuning, priority=priority)
            for priority in (SIDE_PRIORITY, MAIN_PRIORITY, SIDE_PRIORITY)
        )
        tasks: list[Task] = [
            ("prompts", partial(self._prompt_encoder.compile, for_prompts)),
            ("steps", partial(self._sampler.compile, for_steps, batch_limit=self.batch_limit)),
        ]
        for size in read(self._model, OPTIONS)["compile"]:
            picture = self._make_grid(*parse_size(size))
            tasks.append((f"pictures of {size}", partial(self._decoder.compile, for_pictures, picture)))
            tasks += [
                (
                    f"steps of {count} of {size}",
                    partial(self._sampler.capture_graph, for_steps, picture=picture, order_count=count),
                )
                for count in range(1, self.batch_limit + 1)
            ]
        return [*tasks, ("sources", partial(self._reference_encoder.compile, for_prompts))]

    def _reconstruct(self, pixels_1CHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        latents_1SC = self._reference_encoder.encode_pixels(pixels_1CHW)
        height, width = pixels_1CHW.shape[2:]
        decoded_HWC, _ = self._decoder.decode(latents_1SC, self._make_grid(width, height))
        return latents_1SC, decoded_HWC

    def _encode_kept(
        self, orders: Sequence[ImageOrder], picture: Grid
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the latents (B, S, C) of masked sources, and which tokens (B, S, 1) are kept as a whole."""
        kept, are_kept = [], []
        for order in orders:
            if order.mask is None:
                return None, None
            kept.append(self._reference_encoder.encode_fitted(order.sources[0], (order.width, order.height)))
            are_kept.append(masked_tokens.find_kept(order.mask, picture, patch_pixels=self._patch_pixels))
        is_kept_BS1 = torch.from_numpy(np.stack(are_kept)[..., None])
        return torch.cat(kept).to(self._sampler.dtype), self._device.to_device(is_kept_BS1)

    def _make_sample_latents(self) -> torch.Tensor:
        prepared = self.prepare([SAMPLE_ORDER])
        latents_BSC = self.denoise(prepared, on_step=lambda _done, _steps: None).tensors.latents_BSC
        return latents_BSC.float().cpu()

    def _make_grid(self, width: int, height: int) -> Grid:
        """Return the tokens that cover a picture of this size, and may reach beyond it at the right and the bottom."""
        return -(-height // self._patch_pixels), -(-width // self._patch_pixels)

    def _draw_noise(self, orders: Sequence[ImageOrder], picture: Grid) -> torch.Tensor:
        """Draw on the CPU, from one generator an order: a seed gives its picture on any device, in any batch."""
        shape = (1, self._sampler.channels, *picture)
        noise_BCHW = torch.cat(
            [noise.draw(shape, seed=order.seed, dtype=self._sampler.dtype) for order in orders]
        )
        on_device_BCHW = self._device.to_device(noise_BCHW)
        return on_device_BCHW.flatten(2).transpose(1, 2).contiguous()


def _go_on(before_BSC: torch.Tensor, after_BSC: torch.Tensor, steps_ahead: float) -> torch.Tensor:
    """Return where the flow ends if it goes on straight ahead from this step: x0 = x - sigma * v.

    `steps_ahead` is the distance to its end, in lengths of this step.
    """
    return after_BSC.float() + steps_ahead * (after_BSC.float() - before_BSC.float())


def load(*, model: ImageModel, device: str) -> Engine:
    """Return the model's engine on `device`; `auto` is the first GPU, or else the CPU. Raise EngineError."""
    offload, plain = loading.split_offload(model)
    options = read(plain, OPTIONS)
    target = loading.resolve_device(device)
    if offload:
        pipeline = _load_pipeline(plain, loading.CPU)
        text_options = {name: options[name] for name in ("max_sequence_length", "text_encoder_out_layers")}
        text_options["text_encoder_out_layers"] = tuple(text_options["text_encoder_out_layers"])
        engine = PipelineEngine(
            adapter=OffloadedFlux2Klein(
                pipeline=pipeline,
                steps=plain.steps,
                text=text_options,
                template=_make_template(pipeline, options),
                source_shape=options["source_shape"],
            ),
            model=plain,
            device=target,
        )
        engine.fit_previews()
        loading.place_components([pipeline], model=model, device=target, offload=offload)
        return engine
    return compilation.load_compiled(
        partial(_build, plain, target), options=options, device=target, name=model.name
    )


def _make_template(pipeline: Flux2KleinPipeline, options: Mapping[str, Any]) -> PromptTemplate:
    return PromptTemplate(
        tokenizer=pipeline.tokenizer, length=options["max_sequence_length"], cut=options["prompt_cut"]
    )


def _load_pipeline(model: ImageModel, device: torch.device) -> Flux2KleinPipeline:
    folder = loading.fetch(Flux2KleinPipeline, model=model)
    text_encoder = load_text_encoder(
        folder, model=model, device=device, out_layers=read(model, OPTIONS)["text_encoder_out_layers"]
    )
    return loading.assemble(Flux2KleinPipeline, folder, model=model, device=device, text_encoder=text_encoder)


def _build(model: ImageModel, device: torch.device) -> Flux2Klein:
    pipeline = _load_pipeline(model, device)
    loading.place_components([pipeline], model=model, device=device, offload=None)
    engine = Flux2Klein(pipeline=pipeline, model=model)
    engine.choose_precision()
    engine.choose_attention()
    engine.fit_previews()
    return engine
