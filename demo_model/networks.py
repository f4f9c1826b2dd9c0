"""Untrained networks of the pipeline, and the pipeline of trained ones. The classes are those of FLUX.2-klein."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from typing import Final

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from demo_model.captions import write_caption
from demo_model.config import PROMPT_TOKENS, SHIFT, TEXT_LAYERS, NetworkSizes
from demo_model.edit_pairs import make_blend, make_edit
from demo_model.painter.scene import draw_scenes

HEAD_WIDTH: Final = 32
TOKENIZER_CAPTION_COUNT: Final = 12_000
END_OF_TEXT: Final = "<|endoftext|>"
START: Final = "<|im_start|>"
END: Final = "<|im_end|>"
# The template is short, because each of its tokens takes the place of a word of the prompt.
CHAT_TEMPLATE: Final = (
    f"{{% for message in messages %}}{START}{{{{ message['content'] }}}}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{START}{{% endif %}}"
)


@cache
def build_tokenizer(sizes: NetworkSizes) -> Qwen2TokenizerFast:
    """Return a tokenizer that splits prompts into the words of the captions.

    It splits unknown words into bytes. The tokenizer is cached by the sizes.
    """
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        _generate_training_texts(),
        vocab_size=sizes.vocabulary,
        special_tokens=[END_OF_TEXT, START, END],
        show_progress=False,
    )
    vocabulary, merges = trained.get_vocab(), _read_merges(trained)
    made = Qwen2TokenizerFast(vocab=vocabulary, merges=merges, additional_special_tokens=[START, END])
    made.chat_template = CHAT_TEMPLATE
    return made


def tokenize(prompts: list[str], sizes: NetworkSizes) -> torch.Tensor:
    """Split prompts as the pipeline does. The tokens have the shape (B, PROMPT_TOKENS)."""
    tokenizer = build_tokenizer(sizes)
    texts = [f"{START}{prompt}{END}{START}" for prompt in prompts]
    split = tokenizer(
        texts, padding="max_length", truncation=True, max_length=PROMPT_TOKENS, return_tensors="pt"
    )
    tokens_BL: torch.Tensor = split["input_ids"]
    return tokens_BL


def build_text_encoder(sizes: NetworkSizes) -> Qwen3ForCausalLM:
    """Return an untrained text encoder."""
    tokenizer = build_tokenizer(sizes)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=sizes.text_width,
            intermediate_size=2 * sizes.text_width,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=sizes.text_width // HEAD_WIDTH,
            num_key_value_heads=sizes.text_width // HEAD_WIDTH,
            head_dim=HEAD_WIDTH,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_transformer(sizes: NetworkSizes) -> Flux2Transformer2DModel:
    """Return an untrained transformer, which turns noise into latents step by step."""
    return Flux2Transformer2DModel(
        in_channels=4 * sizes.latent_channels,
        num_layers=sizes.double_blocks,
        num_single_layers=sizes.single_blocks,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=sizes.head_count,
        joint_attention_dim=TEXT_LAYERS * sizes.text_width,
        timestep_guidance_channels=256,
        mlp_ratio=sizes.mlp_ratio,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=False,
    )


def build_autoencoder(sizes: NetworkSizes) -> AutoencoderKLFlux2:
    """Return an untrained autoencoder, which turns pictures into latents and back."""
    levels = len(sizes.encoder_channels)
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=sizes.encoder_channels,
        decoder_block_out_channels=sizes.decoder_channels,
        layers_per_block=1,
        latent_channels=sizes.latent_channels,
        # There is one group, because a group of few channels would lose the brightness of a picture.
        norm_num_groups=1,
        mid_block_add_attention=False,
    )


def build_pipeline(
    sizes: NetworkSizes,
    *,
    vae: AutoencoderKLFlux2,
    text: Qwen3ForCausalLM,
    flow: Flux2Transformer2DModel,
) -> Flux2KleinPipeline:
    """Return the pipeline of these networks, as the worker's adapter loads it."""
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=vae,
        text_encoder=text,
        tokenizer=build_tokenizer(sizes),
        transformer=flow,
        is_distilled=True,
    )


def _generate_training_texts() -> Iterator[str]:
    """Yield the captions and instructions that the tokenizer learns from. They are always the same."""
    drawn = draw_scenes(range(TOKENIZER_CAPTION_COUNT))
    captions = (write_caption(scene, seed=scene.seed).text for scene in drawn)
    edits = (make_edit(scene, seed=scene.seed).instruction for scene in drawn[: TOKENIZER_CAPTION_COUNT // 3])
    shown = [scene for scene in drawn[: TOKENIZER_CAPTION_COUNT // 6] if scene.subject != "none"]
    blends = (make_blend(one, two, seed=one.seed).instruction for one, two in pairwise(shown))
    return chain(captions, edits, blends)


def _read_merges(trained: ByteLevelBPETokenizer) -> list[tuple[str, str]]:
    merges = json.loads(trained._tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) for pair in merges]
