"""The decoder's attention as matrix products, which is compiled for GPUs, gives the same pixels."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLFlux2
from diffusers.models.attention_processor import AttnProcessor

from workers.pipelines.flux2 import decoder as flux2_decoder


@pytest.fixture(scope="module")
def decoder() -> Any:
    torch.manual_seed(0)
    return AutoencoderKLFlux2(block_out_channels=(32, 32, 32, 32), norm_num_groups=8).decoder.eval()


@torch.inference_mode()
def test_attention_by_products_gives_the_same_pixels(decoder: Any) -> None:
    latents = torch.randn(1, decoder.conv_in.in_channels, 24, 16, generator=torch.Generator().manual_seed(0))
    expected = decoder(latents)
    with flux2_decoder._attend_by_products(decoder, token_count=24 * 16):
        [attention] = decoder.mid_block.attentions
        assert isinstance(attention.processor, AttnProcessor)
        result = decoder(latents)
    assert torch.allclose(result, expected, atol=1e-4)
    assert not isinstance(attention.processor, AttnProcessor)


def test_a_large_picture_keeps_the_attention_that_needs_little_memory(decoder: Any) -> None:
    [attention] = decoder.mid_block.attentions
    before = attention.processor
    with flux2_decoder._attend_by_products(decoder, token_count=flux2_decoder.MAX_PRODUCT_TOKENS + 1):
        assert attention.processor is before
