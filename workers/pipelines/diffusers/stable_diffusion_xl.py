"""The adapter for Stable Diffusion XL: creates, and edits of one picture, which start from its noisy latents.

An edit's picture is brought to the ordered size, whole and centred. The prompt describes the result. What a mask leaves
to be painted starts from grey under all the noise of the schedule.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from workers.catalogue import ImageModel
from workers.engine.interface import ImageOrder, Misconfigured, PromptTokens
from workers.engine.options import (
    Option,
    is_number,
    is_text,
    read,
    warn_if_unused,
)
from workers.imaging import letterbox
from workers.pipelines.diffusers.engine import DecoderCall, PipelineCall, PipelineEngine, StagedPipelineEngine
from workers.pipelines.diffusers.latent_tokens import StableDiffusionXLTokens
from workers.pipelines.diffusers.options import COMPILE_OPTIONS
from workers.pipelines.runtime import compilation, loading
from workers.pipelines.runtime.compilation import Compiler, GraphedForward
from workers.pipelines.runtime.device import Device

# There is no option `attention`: the layers of this UNet ask torch, which chooses a kernel for each by its shape.
OPTIONS: Final = {
    "guidance_scale": Option(5.0, is_number(minimum=0, maximum=30)),
    "negative_prompt": Option(None, is_text),
    # How far an edit departs from its picture; 1 keeps nothing of it.
    "strength": Option(0.6, is_number(minimum=0.05, maximum=1)),
    **COMPILE_OPTIONS,
}
MAX_SOURCES: Final = 1
# A mask says what is to be painted anew, so no strength has to.
MASKED_STRENGTH: Final = 1.0
GREY: Final = (127, 127, 127)
# The results of `encode_prompt`, in its order.
EMBEDDINGS: Final = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


class StableDiffusionXL:
    """A StagedPipelineAdapter of two pipelines that share all weights."""

    def __init__(self, *, create: StableDiffusionXLPipeline, model: ImageModel) -> None:
        """Raise EngineError for invalid options, and for more sources than an edit can have."""
        self._options = read(model, OPTIONS)
        self._steps = model.steps
        if model.sources > MAX_SOURCES:
            raise Misconfigured(
                f"the model {model.name} has sources = {model.sources}; its adapter takes at most 1"
            )
        if int(model.steps * self._options["strength"]) < 1:
            raise Misconfigured(f"the model {model.name} has a strength that leaves an edit without a step")
        warn_if_unused(
            model,
            "negative_prompt",
            is_used=self._options["guidance_scale"] > 1,
            unless="a guidance_scale above 1",
        )
        warn_if_unused(model, "strength", is_used=model.sources > 0, unless="sources")
        self._create = create
        self._scales: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor]] = {}
        self._edit = StableDiffusionXLImg2ImgPipeline(
            **create.components,
            force_zeros_for_empty_prompt=create.config.force_zeros_for_empty_prompt,
            add_watermarker=False,
        )
        self._edit.set_progress_bar_config(disable=True)

    @property
    def pipelines(self) -> Sequence[Any]:
        """Return the pipeline that creates and the one that edits."""
        return self._create, self._edit

    @property
    def latent_tokens(self) -> StableDiffusionXLTokens:
        """Return the tokens of the pipelines' latents."""
        return StableDiffusionXLTokens(self._create)

    def build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        """Return the call. Each order has its own noise generator on the CPU: its picture is the same in any batch."""
        first = orders[0]
        # All orders of a batch have a negative prompt of their own, or none has.
        negative = [order.negative_prompt or self._options["negative_prompt"] for order in orders]
        arguments = {
            "prompt": [order.prompt for order in orders],
            "negative_prompt": None if None in negative else negative,
            "num_inference_steps": self._steps,
            "guidance_scale": float(self._options["guidance_scale"]),
            "generator": [torch.Generator().manual_seed(order.seed) for order in orders],
        }
        if not first.sources:
            return PipelineCall(self._create, {**arguments, "width": first.width, "height": first.height})
        [source] = first.sources
        picture = letterbox.fit(source, (first.width, first.height))
        strength = self._options["strength"]
        if first.mask is not None:
            # The pipeline adds noise to the picture, so what is to be painted anew must not show through.
            strength = MASKED_STRENGTH
            picture = Image.composite(picture, Image.new("RGB", picture.size, GREY), first.mask)
        return PipelineCall(self._edit, {**arguments, "image": picture, "strength": strength})

    def count_tokens(self, prompt: str) -> PromptTokens:
        """Return how many tokens the prompt has and the text encoders read, without those of its start and end."""
        tokenizer = self._create.tokenizer
        own_count = tokenizer.num_special_tokens_to_add()
        total = len(tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])
        max_count: int = tokenizer.model_max_length - own_count
        return PromptTokens(min(total, max_count), total)

    def encode(self, call: PipelineCall) -> PipelineCall:
        """Encode prompts, and the picture of an edit, as the pipelines do it."""
        arguments = dict(call.arguments)
        embeddings = self._create.encode_prompt(
            arguments.pop("prompt"),
            negative_prompt=arguments.pop("negative_prompt"),
            num_images_per_prompt=1,
            do_classifier_free_guidance=self._is_guided(arguments["guidance_scale"]),
        )
        arguments.update(zip(EMBEDDINGS, embeddings, strict=True))
        if "image" in arguments:
            arguments["image"] = self._encode_source(arguments["image"], arguments["generator"][0])
        return PipelineCall(call.pipeline, arguments)

    @property
    def decoder(self) -> torch.nn.Module:
        """Return the VAE's decoder."""
        decoder: torch.nn.Module = self._create.vae.decoder
        return decoder

    @contextmanager
    def compile_steps(self, compiler: Compiler) -> Iterator[None]:
        """Compile the blocks for any batch, and capture a step of each batch inside as one graph, creates and edits.

        For a picture of 512x512 the host would take longer than the device.
        """
        compiler.compile_blocks(self._create.unet)
        forward = GraphedForward(self._create.unet, compiler)
        try:
            yield
        finally:
            forward.is_capturing = False

    def make_trials(
        self, named: Sequence[tuple[int, int]], *, max_orders: int
    ) -> Iterator[tuple[str, list[ImageOrder]]]:
        """Yield creates of the named sizes, the largest batch first: it compiles for nearly any number of orders."""
        for width, height in named:
            for count in range(max_orders, 0, -1):
                blank = ImageOrder(prompt="", width=width, height=height, seed=0)
                yield f"{count} of {width}x{height}", [blank] * count

    def decode_latents(
        self, latents: torch.Tensor, *, height: int, width: int, decoder: DecoderCall
    ) -> torch.Tensor:
        """Decode the latents."""
        vae = self._create.vae
        mean, deviation = self._find_latent_scale(latents)
        latents_BCHW = (latents * deviation + mean).to(vae.dtype, memory_format=torch.channels_last)
        if vae.post_quant_conv is not None:
            latents_BCHW = vae.post_quant_conv(latents_BCHW)
        pixels_BCHW: torch.Tensor = decoder(latents_BCHW) / 2 + 0.5
        return pixels_BCHW

    def _is_guided(self, guidance_scale: float) -> bool:
        return guidance_scale > 1 and self._create.unet.config.time_cond_proj_dim is None

    def _encode_source(self, picture: Image.Image, generator: torch.Generator) -> torch.Tensor:
        vae = self._create.vae
        pixels_BCHW = self._create.image_processor.preprocess(picture).to(vae.dtype)
        on_device_BCHW = (
            Device(vae.device).to_device(pixels_BCHW).contiguous(memory_format=torch.channels_last)
        )
        latents_BCHW: torch.Tensor = vae.encode(on_device_BCHW).latent_dist.sample(generator)
        mean, deviation = self._find_latent_scale(latents_BCHW)
        return (latents_BCHW - mean) / deviation

    def _find_latent_scale(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the VAE's latents; some models derived from XL have them by channel.

        They are moved to the device once for each precision, because a graph cannot move them.
        """
        if latents.dtype not in self._scales:
            config = self._create.vae.config
            mean_C = torch.tensor(getattr(config, "latents_mean", None) or 0.0).view(-1, 1, 1)
            deviation_C = torch.tensor(getattr(config, "latents_std", None) or 1.0).view(-1, 1, 1)
            self._scales[latents.dtype] = (
                mean_C.to(latents),
                deviation_C.to(latents) / config.scaling_factor,
            )
        return self._scales[latents.dtype]


def load(*, model: ImageModel, device: str) -> PipelineEngine:
    """Return the model's engine on `device`; `auto` is the first GPU, or else the CPU. Raise EngineError."""
    offload, plain = loading.split_offload(model)
    options = read(plain, OPTIONS)
    target = loading.resolve_device(device)
    if offload:
        adapter = _load_adapter(plain, loading.CPU)
        engine = PipelineEngine(adapter=adapter, model=plain, device=target)
        engine.fit_previews()
        loading.place_components(adapter.pipelines, model=model, device=target, offload=offload)
        return engine
    return compilation.load_compiled(
        partial(_build, plain, target), options=options, device=target, name=model.name
    )


def _load_adapter(model: ImageModel, device: torch.device) -> StableDiffusionXL:
    create = loading.load(StableDiffusionXLPipeline, model=model, device=device, add_watermarker=False)
    return StableDiffusionXL(create=create, model=model)


def _build(model: ImageModel, device: torch.device) -> StagedPipelineEngine:
    adapter = _load_adapter(model, device)
    loading.place_components(adapter.pipelines, model=model, device=device, offload=None)
    create = adapter.pipelines[0]
    if create.vae.config.force_upcast and create.vae.dtype == torch.float16:
        # It overflows in half precision. A pipeline would cast it back and forth while another stage uses it.
        create.vae.to(torch.float32)
    for part in (create.unet, create.vae):
        # Convolutions are fast with this memory order.
        part.to(memory_format=torch.channels_last)
    engine = StagedPipelineEngine(adapter=adapter, model=model, device=device)
    engine.fit_previews()
    return engine
