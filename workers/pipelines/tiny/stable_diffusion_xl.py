"""The small pipeline of Stable Diffusion XL, which paints soft, bright spots."""

from collections.abc import Mapping
from typing import Any, Final

from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from workers.pipelines.tiny.tokenizers import BYTES, number_symbols

TEXT_WIDTH: Final = 32
START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
# At torch's own scale one letter of the prompt would not show.
TEXT_GAIN: Final = 8.0
# The factor on a smooth kernel. With it, colours are clear and seldom saturated.
DECODER_GAIN: Final = 2.0


def build_parts() -> Mapping[str, Any]:
    """Return the pipeline."""
    pipeline = StableDiffusionXLPipeline(
        vae=_build_vae(),
        text_encoder=CLIPTextModel(_build_text_config()).eval(),
        text_encoder_2=CLIPTextModelWithProjection(_build_text_config()).eval(),
        tokenizer=_build_tokenizer(),
        tokenizer_2=_build_tokenizer(),
        unet=_build_unet(),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
        add_watermarker=False,
    )
    return {"": pipeline}


def _build_tokenizer() -> CLIPTokenizer:
    """Make each byte a token, and another token where the byte ends a word."""
    symbols = [START, END, *BYTES, *(f"{byte}</w>" for byte in BYTES)]
    return CLIPTokenizer(vocab=number_symbols(symbols), merges=[], model_max_length=77)


def _build_text_config() -> CLIPTextConfig:
    tokenizer = _build_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        hidden_act="gelu",
        initializer_factor=TEXT_GAIN,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _build_unet() -> UNet2DConditionModel:
    """Put attention at a quarter of the latents' side alone, so that 1024² takes two cores seconds."""
    time_width = 8
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 2, 4),
        transformer_layers_per_block=1,
        use_linear_projection=True,
        norm_num_groups=8,
        cross_attention_dim=2 * TEXT_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=time_width,
        # Six numbers describe how a picture was cropped and scaled.
        projection_class_embeddings_input_dim=6 * time_width + TEXT_WIDTH,
    ).eval()


def _build_vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=1024,
        scaling_factor=0.13025,
        mid_block_add_attention=False,
    )
    for name, weight in vae.named_parameters():
        if weight.ndim == 4 and weight.shape[-1] > 1:
            # A uniform kernel smooths. A random one would find edges and leave grain.
            weight.copy_(DECODER_GAIN * weight.mean((2, 3), keepdim=True).expand_as(weight))
        elif weight.ndim == 1 and "norm" not in name:
            weight.zero_()
    return vae.eval()
