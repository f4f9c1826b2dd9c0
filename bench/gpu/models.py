"""FLUX.2-klein-4B's true architecture with random weights, made on the device, or the project's small pipeline."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from transformers import Qwen3Config, Qwen3ForCausalLM

from bench.gpu.machine import Machine
from billing.prices import PriceRule
from workers.catalogue import ImageModel
from workers.pipelines.tiny import build

SEED: Final = 20_240_407
STEPS: Final = 4
BATCH_LIMIT: Final = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The sizes of a model: sides in pixels of a large picture and of a small one, and the encoding of prompts."""

    name: str
    large: int
    little: int
    length: int
    layers: tuple[int, ...]
    jobs: int

    def format_size(self, side: int) -> str:
        """Return the size as models.toml names it."""
        return f"{side}x{side}"


TRUE: Final = Scale(name="klein-4B", large=1024, little=512, length=512, layers=(9, 18, 27), jobs=64)
SMALL: Final = Scale(name="small", large=256, little=128, length=256, layers=(1, 2, 3), jobs=8)


def build_pipeline(scale: Scale, machine: Machine) -> Any:
    """Return a pipeline on the device. All pipelines of a scale have equal weights."""
    made = (
        _build_true_pipeline(machine)
        if scale is TRUE
        else build.build("flux2-klein")[""].to(machine.device, machine.dtype)
    )
    made.set_progress_bar_config(disable=True)
    return made


def build_entry(
    scale: Scale, *, compile_sizes: list[str], batch_limit: int = BATCH_LIMIT, **more: object
) -> ImageModel:
    """Return the entry that models.toml would have for it, with `more` options."""
    price = PriceRule(
        base_micros=100, megapixel_micros=0, source_image_micros=0, least_micros=100, most_micros=100
    )
    options: dict[str, object] = {
        "max_sequence_length": scale.length,
        "text_encoder_out_layers": list(scale.layers),
        "compile": compile_sizes,
        **more,
    }
    return ImageModel(
        name=scale.name,
        adapter="flux2-klein",
        weights="random",
        licence="Apache-2.0",
        steps=STEPS,
        dtype="bfloat16",
        batch_limit=batch_limit,
        options=options,
        price=price,
    )


def _build_true_pipeline(machine: Machine) -> Any:
    tokenizer = build.build("flux2-klein")[""].tokenizer
    torch.manual_seed(SEED)
    with _use_default_dtype(machine.dtype), torch.device(machine.device):
        transformer = Flux2Transformer2DModel(
            in_channels=128,
            num_layers=5,
            num_single_layers=20,
            attention_head_dim=128,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        )
        text_encoder = Qwen3ForCausalLM(_build_text_config())
        vae = AutoencoderKLFlux2()
    for module in (transformer, text_encoder, vae):
        module.eval().requires_grad_(False)
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=4096
    )
    made = Flux2KleinPipeline(
        scheduler=scheduler,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=True,
    )
    return made.to(machine.device)


def _build_text_config() -> Qwen3Config:
    """Return Qwen3-4B's configuration. The tokenizer is another one, since the tokens change no time."""
    return Qwen3Config(
        vocab_size=151_936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )


@contextmanager
def _use_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
