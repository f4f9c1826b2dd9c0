"""The adapter for Qwen-Image: creates, and edits of one or two pictures if the options name weights that edit.

Both share the text encoder and the VAE. The transformers differ, unless the option `edit_weights` names the folder of
the model's own weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, Final

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import (
    CONDITION_IMAGE_SIZE,
    calculate_dimensions,
)
from PIL import Image
from transformers import BatchFeature, Qwen2VLImageProcessorPil

from workers.catalogue import ImageModel
from workers.engine import loading_progress
from workers.engine.interface import ImageOrder, Misconfigured, PromptTokens
from workers.engine.options import (
    Option,
    is_number,
    is_text,
    is_whole_number,
    read,
    warn_if_unused,
)
from workers.pipelines.diffusers.engine import DecoderCall, PipelineCall, PipelineEngine, StagedPipelineEngine
from workers.pipelines.diffusers.latent_tokens import QwenImageTokens
from workers.pipelines.diffusers.options import COMPILE_OPTIONS
from workers.pipelines.runtime import attention, compilation, loading
from workers.pipelines.runtime.compilation import Compiler
from workers.pipelines.runtime.device import Device

OPTIONS: Final = {
    "edit_weights": Option(None, is_text),
    "guidance_scale": Option(4.0, is_number(minimum=1, maximum=30)),
    "negative_prompt": Option(" ", is_text),
    # In tokens. The pipelines take no longer prompt.
    "max_sequence_length": Option(512, is_whole_number(minimum=1, maximum=1024)),
    # A backend by diffusers' name, or the fastest of torch's own.
    "attention": Option(attention.FASTEST, is_text),
    **COMPILE_OPTIONS,
}
IMAGE_TOKEN: Final = "<|image_pad|>"  # noqa: S105 (a token of text)
# The tokens of a prompt and a picture of 1024x1024, where attention is much of the work.
MANY_TOKENS: Final = 4096 + 64
# The rows and columns of tokens in trials of any size. torch takes two equal numbers for one and the same, so no prompt
# of a trial may have as many tokens.
ODD_GRID: Final = (15, 17)


class ImagePrompts:
    """A substitute for transformers' Qwen2VLProcessor, which also reads videos and needs torchvision for that."""

    def __init__(self, *, images: Qwen2VLImageProcessorPil, tokenizer: Any) -> None:
        self._images = images
        self._tokenizer = tokenizer

    def __call__(self, *, text: list[str], images: Any, padding: bool, return_tensors: str) -> BatchFeature:
        """Return the texts' tokens, with one image token for each patch of a picture, and the patches."""
        patches = self._images(images=images, return_tensors=return_tensors)
        counts = iter((patches["image_grid_thw"].prod(-1) // self._images.merge_size**2).tolist())
        filled = []
        for words in text:
            before, *after = words.split(IMAGE_TOKEN)
            filled.append(before + "".join(IMAGE_TOKEN * next(counts) + part for part in after))
        tokens = self._tokenizer(filled, padding=padding, return_tensors=return_tensors)
        return BatchFeature({**tokens, **patches})


class QwenImage:
    """A StagedPipelineAdapter of one or two pipelines."""

    def __init__(
        self, *, create: QwenImagePipeline, edit: QwenImageEditPlusPipeline | None, model: ImageModel
    ):
        """Raise EngineError for invalid options, and for sources without weights that edit."""
        self._options = read(model, OPTIONS)
        self._steps = model.steps
        if model.sources and edit is None:
            raise Misconfigured(
                f"the model {model.name} has sources = {model.sources}, but no option edit_weights"
            )
        is_guided = self._options["guidance_scale"] > 1
        warn_if_unused(model, "negative_prompt", is_used=is_guided, unless="a guidance_scale above 1")
        warn_if_unused(model, "edit_weights", is_used=model.sources > 0, unless="sources")
        self._create = create
        self._edit = edit
        self._scale: list[torch.Tensor] = []
        create.text_encoder.register_forward_pre_hook(_add_token_types, with_kwargs=True)

    @property
    def pipelines(self) -> Sequence[Any]:
        """Return the pipeline that creates and, if there is one, the pipeline that edits."""
        return [pipeline for pipeline in (self._create, self._edit) if pipeline is not None]

    @property
    def latent_tokens(self) -> QwenImageTokens:
        """Return the tokens of the pipelines' latents."""
        return QwenImageTokens(self._create)

    def build_call(self, orders: Sequence[ImageOrder]) -> PipelineCall:
        """Return the call. Each order has its own noise generator on the CPU: its picture is the same in any batch."""
        first = orders[0]
        guidance_scale = float(self._options["guidance_scale"])
        arguments = {
            "prompt": [self._fit_prompt(order.prompt) for order in orders],
            "negative_prompt": [self._choose_negative_prompt(order) for order in orders]
            if guidance_scale > 1
            else None,
            "true_cfg_scale": guidance_scale,
            "num_inference_steps": self._steps,
            "generator": [torch.Generator().manual_seed(order.seed) for order in orders],
            "max_sequence_length": self._options["max_sequence_length"],
            "width": first.width,
            "height": first.height,
        }
        if not first.sources:
            return PipelineCall(self._create, arguments)
        if self._edit is None:
            raise Misconfigured("this model has no weights to edit with")
        return PipelineCall(self._edit, {**arguments, "image": list(first.sources)})

    def count_tokens(self, prompt: str) -> PromptTokens:
        """Return how many tokens the prompt has, of which the first `max_sequence_length` are read."""
        total = len(self._create.tokenizer(self._break_up_tokens(prompt))["input_ids"])
        return PromptTokens(min(total, self._options["max_sequence_length"]), total)

    def encode(self, call: PipelineCall) -> PipelineCall:
        """Encode the prompts together with their pictures. The call itself encodes the pictures' latents."""
        arguments = dict(call.arguments)
        images = {}
        if "image" in arguments:
            images["image"] = [self._resize_source(call.pipeline, source) for source in arguments["image"]]
        for name in ("prompt", "negative_prompt"):
            if words := arguments.pop(name):
                embeddings, mask = call.pipeline.encode_prompt(
                    words, max_sequence_length=arguments["max_sequence_length"], **images
                )
                arguments |= {f"{name}_embeds": embeddings, f"{name}_embeds_mask": mask}
        return PipelineCall(call.pipeline, arguments)

    @property
    def decoder(self) -> torch.nn.Module:
        """Return the VAE's decoder."""
        decoder: torch.nn.Module = self._create.vae.decoder
        return decoder

    def choose_attention(self, model: ImageModel) -> None:
        """Select the attention backend: the option's, or the fastest here. Raise EngineError."""
        config = self._create.transformer.config
        shape = (1, MANY_TOKENS, config.num_attention_heads, config.attention_head_dim)
        attention.select_backend(self._options["attention"], self._transformers, shape, model_name=model.name)

    @contextmanager
    def compile_steps(self, compiler: Compiler) -> Iterator[None]:
        """Compile the blocks for any number of orders and tokens.

        No graphs are captured. For a picture of 512x512, a step of 20 billion weights takes a large GPU about 60 ms,
        and the host launches its kernels in a tenth of that.
        """
        for transformer in self._transformers:
            compiler.compile_blocks(transformer)
        yield

    def make_trials(
        self, named: Sequence[tuple[int, int]], *, max_orders: int
    ) -> Iterator[tuple[str, list[ImageOrder]]]:
        """Yield batches of any size, and then creates of the named sizes.

        The batches of any size are an order alone, several with prompts of equal and of different lengths, and an
        edit.
        """
        patch_pixels = 2 * self._create.vae_scale_factor
        height, width = (patch_pixels * count for count in ODD_GRID)
        yield "a step", [_make_blank_order(width, height)]
        yield "steps of several", [_make_blank_order(width, height)] * 3
        yield "steps of several prompts", _make_blank_orders(width, height, 3)
        if self._edit is not None:
            yield (
                "an edit",
                [replace(_make_blank_order(width, height), sources=(Image.new("RGB", (width, height)),))],
            )
        for (width, height), count in product(named, range(1, max_orders + 1)):
            yield f"{count} of {width}x{height}", _make_blank_orders(width, height, count)

    @property
    def _transformers(self) -> Sequence[Any]:
        transformers = [pipeline.transformer for pipeline in self.pipelines]
        return list({id(transformer): transformer for transformer in transformers}.values())

    def decode_latents(
        self, latents: torch.Tensor, *, height: int, width: int, decoder: DecoderCall
    ) -> torch.Tensor:
        """Decode the latents of either pipeline as the pipelines do it.

        A picture is a video of one frame, so the VAE's cache between frames is not needed.
        """
        vae = self._create.vae
        unpacked = self._create._unpack_latents(latents, height, width, self._create.vae_scale_factor)
        latents_BCFHW = unpacked.to(vae.dtype)
        mean_C, deviation_C = self._find_latent_scale(latents_BCFHW.device, latents_BCFHW.dtype)
        decoded_BCFHW = decoder(vae.post_quant_conv(latents_BCFHW * deviation_C + mean_C))
        pixels_BCHW: torch.Tensor = decoded_BCFHW[:, :, 0].clamp(-1, 1) / 2 + 0.5
        return pixels_BCHW

    def _find_latent_scale(
        self, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the VAE's latents, moved to the device once: a graph cannot move them."""
        if not self._scale:
            config = self._create.vae.config
            self._scale = [
                torch.tensor(values).view(-1, 1, 1, 1).to(device, dtype)
                for values in (config.latents_mean, config.latents_std)
            ]
        mean_C, deviation_C = self._scale
        return mean_C, deviation_C

    def _choose_negative_prompt(self, order: ImageOrder) -> str:
        return self._fit_prompt(order.negative_prompt) or str(self._options["negative_prompt"])

    def _fit_prompt(self, prompt: str) -> str:
        """Cut the prompt to the pipelines' length, and break up text that would be read as a special token."""
        prompt = self._break_up_tokens(prompt)
        tokenizer, max_length = self._create.tokenizer, self._options["max_sequence_length"]
        tokens = tokenizer(prompt)["input_ids"]
        return prompt if len(tokens) <= max_length else str(tokenizer.decode(tokens[:max_length]))

    def _break_up_tokens(self, prompt: str) -> str:
        for token in self._create.tokenizer.all_special_tokens:
            prompt = prompt.replace(token, f"{token[:1]} {token[1:]}")
        return prompt

    def _resize_source(self, pipeline: QwenImageEditPlusPipeline, source: Any) -> Any:
        width, height = calculate_dimensions(CONDITION_IMAGE_SIZE, source.width / source.height)
        return pipeline.image_processor.resize(source, height, width)


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


def _load_adapter(model: ImageModel, device: torch.device) -> QwenImage:
    _expect_edit_weights(model)
    create = loading.load(QwenImagePipeline, model=model, device=device)
    return QwenImage(create=create, edit=_load_edit_pipeline(create, model, device), model=model)


def _build(model: ImageModel, device: torch.device) -> StagedPipelineEngine:
    adapter = _load_adapter(model, device)
    loading.place_components(adapter.pipelines, model=model, device=device, offload=None)
    with Device(device).enter_main_stage():
        adapter.choose_attention(model)
    engine = StagedPipelineEngine(adapter=adapter, model=model, device=device)
    engine.fit_previews()
    return engine


def _expect_edit_weights(model: ImageModel) -> None:
    """Count the second transformer among the weights that are to be loaded, before the first are."""
    weights = model.options.get("edit_weights")
    if isinstance(weights, str) and weights != model.weights:
        loading_progress.expect(loading_progress.WEIGHTS, loading.count_bytes(weights, "transformer"))


def _load_edit_pipeline(
    create: QwenImagePipeline, model: ImageModel, device: torch.device
) -> QwenImageEditPlusPipeline | None:
    weights = model.options.get("edit_weights")
    if not isinstance(weights, str):
        return None
    components = dict(create.components)
    if weights != model.weights:
        components["transformer"] = loading.load_weights(
            QwenImageTransformer2DModel,
            model=model,
            weights=weights,
            device=device,
            subfolder="transformer",
        )
        components["scheduler"] = loading.load_component(
            FlowMatchEulerDiscreteScheduler, model=model, weights=weights, subfolder="scheduler"
        )
    images = loading.load_component(
        Qwen2VLImageProcessorPil, model=model, weights=weights, subfolder="processor"
    )
    processor = ImagePrompts(images=images, tokenizer=create.tokenizer)
    edit = QwenImageEditPlusPipeline(**components, processor=processor)
    edit.set_progress_bar_config(disable=True)
    return edit


def _make_blank_order(width: int, height: int, *, words: int = 1) -> ImageOrder:
    return ImageOrder(prompt=" ".join(["a"] * words), width=width, height=height, seed=0)


def _make_blank_orders(width: int, height: int, count: int) -> list[ImageOrder]:
    """Return this many orders; no two of their prompts have equal lengths."""
    return [_make_blank_order(width, height, words=number) for number in range(1, count + 1)]


def _add_token_types(
    text_encoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Tell the encoder which tokens are images, or it would place patches in a line, as it does words.

    This release of transformers needs the argument, and the pipelines of this release of diffusers do not pass it.
    """
    if kwargs.get("image_grid_thw") is None:
        return args, kwargs
    are_images = kwargs["input_ids"] == text_encoder.config.image_token_id
    return args, {**kwargs, "mm_token_type_ids": are_images.int()}
