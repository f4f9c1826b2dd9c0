"""The small pipeline of Qwen-Image, which paints spots and grain. The same weights can edit."""

import re
from collections.abc import Mapping
from typing import Any, Final

from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessorPil,
)

from workers.pipelines.tiny.tokenizers import build_qwen_tokenizer

LATENT_CHANNELS: Final = 8
TEXT_WIDTH: Final = 32

# At torch's own scale the blocks hardly change the noise, so neither prompt nor source would show.
TRANSFORMER_GAIN: Final = 2.5
# The sharpness of attention. At 1, every token of the picture sees the prompt's mean.
ATTENTION_GAIN: Final = 3.0
DECODER_GAIN: Final = 1.5

SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The pipelines put these words around a prompt, and drop as many embeddings as the real tokenizer makes of them. A
# token for each word gives the same number here. Byte by byte, they would outweigh the prompt.
FIRST_WORDS: Final = "system user assistant Picture Describe Generate"
LATER_WORDS: Final = """
the image by detailing color shape size texture quantity text spatial relationships of objects and background key
features input then explain how user instruction should alter or modify new that meets requirements while maintaining
consistency with original where appropriate
"""


def build_parts() -> Mapping[str, Any]:
    """Return the pipeline that creates, and the processor that the one that edits needs as well."""
    tokenizer = _build_tokenizer()
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0),
        vae=_build_vae(),
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        transformer=_build_transformer(),
    )
    return {"": pipeline, "processor": Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=224 * 224)}


def _build_tokenizer() -> Qwen2TokenizerFast:
    tokenizer = build_qwen_tokenizer(SPECIAL_TOKENS)
    tokenizer.add_tokens([*FIRST_WORDS.split(), *(f" {word}" for word in LATER_WORDS.split())])
    return tokenizer


def _build_text_encoder(tokenizer: Qwen2TokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "initializer_range": 0.5,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0},
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [0],
        "out_hidden_size": TEXT_WIDTH,
        "initializer_range": 0.2,
    }
    names = ("vision_start", "vision_end", "image", "video")
    tokens = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in zip(names, tokens, strict=True)
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def _build_transformer() -> QwenImageTransformer2DModel:
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        attention_head_dim=32,
        num_attention_heads=2,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
    )
    for name, weight in transformer.named_parameters():
        if weight.ndim == 2:
            weight.mul_(TRANSFORMER_GAIN)
        elif re.search(r"norm_(added_)?[qk]\.", name):
            weight.mul_(ATTENTION_GAIN)
    return transformer.eval()


def _build_vae() -> AutoencoderKLQwenImage:
    """Scale by 16 with five levels, so that a token is 32 px wide."""
    vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, False, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )
    for name, weight in vae.named_parameters():
        if weight.ndim >= 4 and weight.shape[-1] > 1:
            weight.mul_(DECODER_GAIN)
        elif weight.ndim == 1 and name.endswith("bias"):
            weight.zero_()
    return vae.eval()
