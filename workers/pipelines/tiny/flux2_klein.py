"""The small pipeline of FLUX.2-klein, which paints soft shapes that follow the prompt, the seed and the sources."""

from collections.abc import Mapping
from typing import Any, Final

from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from workers.pipelines.tiny.tokenizers import build_qwen_tokenizer

LATENT_CHANNELS: Final = 16
TEXT_WIDTH: Final = 64
TEXT_LAYERS: Final = 3

# At torch's own scale the blocks hardly change the noise, so neither prompt nor source would show.
TRANSFORMER_GAIN: Final = 2.5
# The factor on a smooth kernel. With it, colours are clear and not yet saturated.
DECODER_GAIN: Final = 2.0

END_OF_TEXT: Final = "<|endoftext|>"
START: Final = "<|im_start|>"
END: Final = "<|im_end|>"
# Each token of the template leaves room for one byte less of the prompt, so the template is short.
CHAT_TEMPLATE: Final = (
    f"{{% for message in messages %}}{START}{{{{ message['content'] }}}}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{START}{{% endif %}}"
)


def build_parts() -> Mapping[str, Any]:
    """Return the pipeline."""
    tokenizer = _build_tokenizer()
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0),
        vae=_build_vae(),
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        transformer=_build_transformer(),
        is_distilled=True,
    )
    return {"": pipeline}


def _build_tokenizer() -> Qwen2TokenizerFast:
    tokenizer = build_qwen_tokenizer([END_OF_TEXT, START, END])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _build_text_encoder(tokenizer: Qwen2TokenizerFast) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config).eval()


def _build_transformer() -> Flux2Transformer2DModel:
    transformer = Flux2Transformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=TEXT_LAYERS * TEXT_WIDTH,
        timestep_guidance_channels=64,
        mlp_ratio=2.0,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=False,
    )
    for weight in transformer.parameters():
        if weight.ndim == 2:
            weight.mul_(TRANSFORMER_GAIN)
    return transformer.eval()


def _build_vae() -> AutoencoderKLFlux2:
    """Scale by 16 with five levels, so a token is 32 px wide, and 1024² takes two cores about a second."""
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=(4, 8, 16, 32, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    for name, weight in vae.named_parameters():
        if weight.ndim == 4 and weight.shape[-1] > 1:
            # A uniform kernel smooths. A random one would find edges and leave grain.
            weight.copy_(DECODER_GAIN * weight.mean((2, 3), keepdim=True).expand_as(weight))
        elif weight.ndim == 1 and "norm" not in name:
            weight.zero_()
    return vae.eval()
