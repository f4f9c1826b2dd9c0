"""The adapter for FLUX.2-klein, and for the small pipeline of the same classes: diffusers' parts, driven in stages.

What it makes is what Flux2KleinPipeline makes of the same order. Knows nothing of jobs, money or bytes.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from workers.catalogue import ImageModel
from workers.engine import BadOutput, Engine, EngineError, ImageOrder, Picture, StepCallback
from workers.pipelines import loading
from workers.pipelines.device import Device, Passed
from workers.pipelines.families import Whole
from workers.pipelines.flux2_klein_whole import WholeFlux2Klein

# The pipeline refuses a smaller source.
LEAST_SOURCE_PIXELS = 64
# Sources over a megapixel are scaled down, as the pipeline does: their tokens would cost more than the picture's.
MOST_SOURCE_AREA = 1024 * 1024
# An embedding of klein-4B is 8 MB, a source's latents 1 MB.
PROMPTS_KEPT = 32
SOURCES_KEPT = 64


class Prepared(NamedTuple):
    """A batch as the transformer takes it. Shapes: B orders, L tokens of text, S of the picture, R of the sources."""

    embeddings_BLD: torch.Tensor
    text_ids_BL4: torch.Tensor
    noise_BSC: torch.Tensor
    image_ids_BS4: torch.Tensor
    sources_BRC: torch.Tensor | None
    height: int
    width: int


class Denoised(NamedTuple):
    """What the transformer made of a batch; the ids say where each token lies."""

    latents_BSC: torch.Tensor
    ids_BS4: torch.Tensor
    height: int
    width: int


class Flux2Klein:
    """An Engine on one device. Orders go together if their size and their sources' sizes are equal."""

    def __init__(self, *, pipeline: Flux2KleinPipeline, model: ImageModel) -> None:
        """Takes a pipeline that is on its device already. Raises EngineError for options it does not know."""
        self._pipeline = pipeline
        self._steps = model.steps
        self._batch_limit = model.batch_limit
        self._text = _text_options(model)
        self._device = Device(pipeline.device)
        self._patch_pixels = 2 * pipeline.vae_scale_factor
        self._prompts: LRUCache[str, torch.Tensor] = LRUCache(PROMPTS_KEPT)
        self._sources: LRUCache[bytes, torch.Tensor] = LRUCache(SOURCES_KEPT)
        self._schedules: dict[int, tuple[torch.Tensor, list[float]]] = {}
        if pipeline.scheduler.config.get("stochastic_sampling"):
            raise EngineError(
                f"the model {model.name} has a scheduler that adds noise, which is not done here"
            )
        _stop_after(pipeline.text_encoder.model, deepest_layer=max(self._text["text_encoder_out_layers"]))
        pipeline.vae.to(memory_format=torch.channels_last)

    @property
    def batch_limit(self) -> int:
        """How many orders are made together at most."""
        return self._batch_limit

    @property
    def device_name(self) -> str:
        """What it works on, for people."""
        return self._device.name

    def batch_key(self, order: ImageOrder) -> Hashable:
        """The shape of all tensors."""
        return order.width, order.height, *(self._fitted_size(source.size) for source in order.sources)

    def prepare(self, orders: Sequence[ImageOrder]) -> Passed[Prepared]:
        """Encodes what is not known from an earlier batch, and draws the noise."""
        first = orders[0]
        if len({self.batch_key(order) for order in orders}) > 1:
            raise ValueError("a batch is of one size, with sources of the same sizes")
        with self._device.beside():
            embeddings_BLD = self._embeddings([order.prompt for order in orders])
            noise_BCHW = self._noise(orders, embeddings_BLD.dtype)
            image_ids_BS4 = self._on_device(self._pipeline._prepare_latent_ids(noise_BCHW))
            sources_BRC, source_ids_BR4 = self._encoded_sources(orders)
            if source_ids_BR4 is not None:
                image_ids_BS4 = torch.cat([image_ids_BS4, source_ids_BR4], dim=1)
            return self._device.passed(
                Prepared(
                    embeddings_BLD=embeddings_BLD,
                    text_ids_BL4=self._on_device(self._pipeline._prepare_text_ids(embeddings_BLD)),
                    noise_BSC=self._pipeline._pack_latents(noise_BCHW),
                    image_ids_BS4=image_ids_BS4,
                    sources_BRC=sources_BRC,
                    height=first.height,
                    width=first.width,
                )
            )

    def denoise(self, prepared: Passed[Prepared], *, on_step: StepCallback) -> Passed[Denoised]:
        """Euler steps along the flow, as the pipeline's scheduler would take them; nothing waits for the device."""
        with self._device.main():
            batch = self._device.received(prepared)
            latents_BSC = batch.noise_BSC
            token_count = latents_BSC.shape[1]
            timesteps, strides = self._schedule(token_count)
            for step, stride in enumerate(strides):
                timestep_B = timesteps[step].expand(latents_BSC.shape[0]).to(latents_BSC.dtype)
                tokens_BSC = latents_BSC
                if batch.sources_BRC is not None:
                    tokens_BSC = torch.cat([latents_BSC, batch.sources_BRC], dim=1)
                flow_BSC = self._pipeline.transformer(
                    hidden_states=tokens_BSC.to(self._pipeline.transformer.dtype),
                    timestep=timestep_B / 1000,
                    guidance=None,
                    encoder_hidden_states=batch.embeddings_BLD,
                    txt_ids=batch.text_ids_BL4,
                    img_ids=batch.image_ids_BS4,
                    return_dict=False,
                )[0][:, :token_count]
                latents_BSC = (latents_BSC.float() + stride * flow_BSC).to(flow_BSC.dtype)
                on_step(step + 1, self._steps)
            ids_BS4 = batch.image_ids_BS4[:, :token_count]
            return self._device.passed(Denoised(latents_BSC, ids_BS4, batch.height, batch.width))

    def decode(self, denoised: Passed[Denoised]) -> list[Picture]:
        """Pixels, turned into bytes on the device. Raises BadOutput."""
        with self._device.beside():
            batch = self._device.received(denoised)
            rows, columns = batch.height // self._patch_pixels, batch.width // self._patch_pixels
            latents_BCHW = self._pipeline._unpack_latents_with_ids(
                batch.latents_BSC, batch.ids_BS4, rows, columns
            )
            mean_C, deviation_C = self._latent_scale(latents_BCHW)
            latents_BCHW = self._pipeline._unpatchify_latents(latents_BCHW * deviation_C + mean_C)
            pixels_BCHW = self._pipeline.vae.decode(
                latents_BCHW.contiguous(memory_format=torch.channels_last), return_dict=False
            )[0]
            expected = (batch.latents_BSC.shape[0], 3, batch.height, batch.width)
            if tuple(pixels_BCHW.shape) != expected:
                raise BadOutput(f"the pipeline made {tuple(pixels_BCHW.shape)} of the ordered {expected}")
            are_numbers = torch.isfinite(pixels_BCHW).all()
            bytes_BHWC = (pixels_BCHW.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
            pictures, finite = self._device.fetched(bytes_BHWC.permute(0, 2, 3, 1).contiguous(), are_numbers)
        if not finite:
            raise BadOutput("the pipeline made pixels that are no numbers")
        return [np.asarray(picture) for picture in pictures.numpy()]

    def _embeddings(self, prompts: Sequence[str]) -> torch.Tensor:
        known = {prompt: self._prompts[prompt] for prompt in prompts if prompt in self._prompts}
        fresh = list(dict.fromkeys(prompt for prompt in prompts if prompt not in known))
        if fresh:
            encoded = self._pipeline._get_qwen3_prompt_embeds(
                text_encoder=self._pipeline.text_encoder.model,
                tokenizer=self._pipeline.tokenizer,
                prompt=fresh,
                device=self._device.target,
                max_sequence_length=self._text["max_sequence_length"],
                hidden_states_layers=self._text["text_encoder_out_layers"],
            )
            known.update(zip(fresh, encoded.split(1), strict=True))
            self._prompts.update(known)
        return torch.cat([known[prompt] for prompt in prompts])

    def _noise(self, orders: Sequence[ImageOrder], dtype: torch.dtype) -> torch.Tensor:
        """On the CPU, and from one generator an order: a seed gives its picture on any device, in any company."""
        channels = self._pipeline.transformer.config.in_channels
        rows, columns = orders[0].height // self._patch_pixels, orders[0].width // self._patch_pixels
        noise = [
            torch.randn(
                (1, channels, rows, columns), generator=torch.Generator().manual_seed(order.seed), dtype=dtype
            )
            for order in orders
        ]
        return self._on_device(torch.cat(noise))

    def _encoded_sources(
        self, orders: Sequence[ImageOrder]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The latents of each order's sources, a row an order, and where they lie, which is the same for each."""
        if not orders[0].sources:
            return None, None
        rows = [[self._encoded_source(source) for source in order.sources] for order in orders]
        packed = [
            torch.cat([self._pipeline._pack_latents(latents) for latents in row], dim=1) for row in rows
        ]
        ids_1R4 = self._on_device(self._pipeline._prepare_image_ids(rows[0]))
        return torch.cat(packed), ids_1R4.expand(len(orders), -1, -1)

    def _encoded_source(self, source: Image.Image) -> torch.Tensor:
        digest = hashlib.sha256(repr(source.size).encode() + source.tobytes()).digest()
        if digest not in self._sources:
            width, height = self._fitted_size(source.size)
            pixels = self._pipeline.image_processor.preprocess(
                self._fitted(source), height=height, width=width, resize_mode="crop"
            )
            vae = self._pipeline.vae
            pixels_BCHW = self._on_device(pixels.to(vae.dtype)).contiguous(memory_format=torch.channels_last)
            self._sources[digest] = self._pipeline._encode_vae_image(image=pixels_BCHW, generator=None)
        return self._sources[digest]

    def _fitted_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels of what is encoded of a source: whole patches, and no more than a megapixel."""
        width, height = self._scaled_size(size)
        return width - width % self._patch_pixels, height - height % self._patch_pixels

    def _scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        least_pixels = max(LEAST_SOURCE_PIXELS, self._patch_pixels)
        if min(size) < least_pixels:
            width, height = (-(-side * least_pixels // min(size)) for side in size)
        if width * height > MOST_SOURCE_AREA:
            scale = (MOST_SOURCE_AREA / (width * height)) ** 0.5
            width, height = int(width * scale), int(height * scale)
        return width, height

    def _fitted(self, source: Image.Image) -> Image.Image:
        size = self._scaled_size(source.size)
        return source if size == source.size else source.resize(size, Image.Resampling.LANCZOS)

    def _schedule(self, token_count: int) -> tuple[torch.Tensor, list[float]]:
        """The timesteps on the device, and the stride from each noise level to the next."""
        if token_count not in self._schedules:
            scheduler = self._pipeline.scheduler
            sigmas = np.linspace(1.0, 1 / self._steps, self._steps)
            scheduler.set_timesteps(
                sigmas=None if scheduler.config.get("use_flow_sigmas") else sigmas,
                num_inference_steps=self._steps,
                mu=compute_empirical_mu(image_seq_len=token_count, num_steps=self._steps),
            )
            strides = scheduler.sigmas.diff().tolist()
            self._schedules[token_count] = (self._on_device(scheduler.timesteps), strides)
        return self._schedules[token_count]

    def _latent_scale(self, latents_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm, vae = self._pipeline.vae.bn, self._pipeline.vae
        mean_C = norm.running_mean.view(1, -1, 1, 1)
        deviation_C = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps)
        return mean_C.to(latents_BCHW.dtype), deviation_C.to(latents_BCHW.dtype)

    def _on_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._device.sent(tensor)


def load(*, model: ImageModel, device: str) -> Engine:
    """The model's engine on `device`: `auto` is the first GPU, or else the CPU. Raises EngineError."""
    offload, plain = loading.offload_of(model)
    target = loading.device_named(device)
    pipeline = loading.load(Flux2KleinPipeline, model=plain)
    loading.place([pipeline], model=model, device=target, offload=offload)
    if offload:
        family = WholeFlux2Klein(pipeline=pipeline, steps=plain.steps, text=_text_options(plain))
        return Whole(family=family, model=plain, device=target)
    return Flux2Klein(pipeline=pipeline, model=plain)


def _text_options(model: ImageModel) -> Mapping[str, Any]:
    """How the prompt is encoded; the pipeline's own defaults for what is not said."""
    options: dict[str, Any] = {"max_sequence_length": 512, "text_encoder_out_layers": (9, 18, 27)}
    for name, value in model.options.items():
        if name == "max_sequence_length" and isinstance(value, int):
            options[name] = value
        elif name == "text_encoder_out_layers" and isinstance(value, list):
            options[name] = tuple(value)
        else:
            raise EngineError(
                f"the model {model.name} has an option that is unknown or unfit: {name} = {value!r}"
            )
    return options


def _stop_after(text_model: Any, *, deepest_layer: int) -> None:
    """Drops the layers that no embedding is taken from, and the norm that would follow the last one left."""
    if deepest_layer < len(text_model.layers):
        text_model.layers = text_model.layers[:deepest_layer]
        text_model.norm = torch.nn.Identity()
