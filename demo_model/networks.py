"""The parts of the pipeline, untrained, and the pipeline of trained ones. Its classes are those of FLUX.2-klein."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from demo_model.captions import caption
from demo_model.config import PROMPT_TOKENS, SHIFT, TEXT_LAYERS, Sizes
from demo_model.edit_pairs import blend, edit
from demo_model.painter.scene import scenes

HEAD_WIDTH = 32
CAPTIONS_TO_SPLIT = 12_000
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Short, because each of its tokens is a word of the prompt less.
CHAT_TEMPLATE = (
    f"{{% for message in messages %}}{START}{{{{ message['content'] }}}}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{START}{{% endif %}}"
)


@cache
def tokenizer(sizes: Sizes) -> Qwen2TokenizerFast:
    """Splits prompts into the words of the captions, and what it does not know into bytes."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        _spoken(), vocab_size=sizes.vocabulary, special_tokens=[END_OF_TEXT, START, END], show_progress=False
    )
    vocabulary, merges = trained.get_vocab(), _merges(trained)
    made = Qwen2TokenizerFast(vocab=vocabulary, merges=merges, additional_special_tokens=[START, END])
    made.chat_template = CHAT_TEMPLATE
    return made


def tokens_of(prompts: list[str], sizes: Sizes) -> torch.Tensor:
    """Prompts as the pipeline would split them, of shape (B, PROMPT_TOKENS)."""
    known = tokenizer(sizes)
    texts = [f"{START}{prompt}{END}{START}" for prompt in prompts]
    split = known(texts, padding="max_length", truncation=True, max_length=PROMPT_TOKENS, return_tensors="pt")
    tokens_BL: torch.Tensor = split["input_ids"]
    return tokens_BL


def text_encoder(sizes: Sizes) -> Qwen3ForCausalLM:
    """Reads prompts."""
    known = tokenizer(sizes)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(known),
            hidden_size=sizes.text_width,
            intermediate_size=2 * sizes.text_width,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=sizes.text_width // HEAD_WIDTH,
            num_key_value_heads=sizes.text_width // HEAD_WIDTH,
            head_dim=HEAD_WIDTH,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=known.eos_token_id,
            pad_token_id=known.pad_token_id,
        )
    )


def transformer(sizes: Sizes) -> Flux2Transformer2DModel:
    """Turns noise into latents, step by step."""
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


def autoencoder(sizes: Sizes) -> AutoencoderKLFlux2:
    """Turns pictures into latents and back."""
    levels = len(sizes.encoder_channels)
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=sizes.encoder_channels,
        decoder_block_out_channels=sizes.decoder_channels,
        layers_per_block=1,
        latent_channels=sizes.latent_channels,
        # One group, for a group of few channels would lose how bright a picture is.
        norm_num_groups=1,
        mid_block_add_attention=False,
    )


def pipeline(
    sizes: Sizes,
    *,
    vae: AutoencoderKLFlux2,
    text: Qwen3ForCausalLM,
    flow: Flux2Transformer2DModel,
) -> Flux2KleinPipeline:
    """The parts as the worker's adapter loads them."""
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer(sizes),
        transformer=flow,
        is_distilled=True,
    )


def _spoken() -> Iterator[str]:
    """What the tokenizer learns its words from: captions and instructions, the same ones always."""
    drawn = scenes(range(CAPTIONS_TO_SPLIT))
    captions = (caption(scene, seed=scene.seed).text for scene in drawn)
    edits = (edit(scene, seed=scene.seed).instruction for scene in drawn[: CAPTIONS_TO_SPLIT // 3])
    shown = [scene for scene in drawn[: CAPTIONS_TO_SPLIT // 6] if scene.subject != "none"]
    blends = (blend(one, two, seed=one.seed).instruction for one, two in pairwise(shown))
    return chain(captions, edits, blends)


def _merges(trained: ByteLevelBPETokenizer) -> list[tuple[str, str]]:
    merges = json.loads(trained._tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) for pair in merges]
