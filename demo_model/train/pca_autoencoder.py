"""Autoencoder without training: principal components for the encoder, least squares for the decoder.

Principal components are the best linear description of a square of pixels. The encoder computes them level by level,
each level from four squares of the level before. The first level only halves the picture: a picture's edges are sharp,
and the decoder learns to sharpen them. The decoder starts as the best linear inverse, and is trained from there.

Tensors: N squares of C channels, K components.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from diffusers import AutoencoderKLFlux2
from torch import nn
from torch.nn import functional

SAMPLE_COUNT: Final = 60_000
RIDGE: Final = 1e-4
# An anchor is so large in its group that the other channels hardly change the normalisation.
ENCODER_ANCHOR: Final = 2000.0
DECODER_ANCHOR: Final = 20.0
# The encoder returns this logarithm of the latents' variance, which is practically no variance.
LOG_VARIANCE: Final = -20.0

Pictures = Sequence[torch.Tensor]


@torch.no_grad()
def set_encoder(vae: AutoencoderKLFlux2, pictures: Pictures) -> list[Pictures]:
    """Compute the encoder from pictures of any sizes, with values from -1 to 1.

    Returns the features of each level, the finest level first.
    """
    encoder = vae.encoder
    _set_matrix(encoder.conv_in, torch.eye(3))
    levels, features = [pictures], pictures
    for block in encoder.down_blocks:
        _set_identity(block)
        if block.downsamplers:
            folded = [functional.pixel_unshuffle(each, 2) for each in features]
            conv = block.downsamplers[0].conv
            is_first = features is pictures
            components_KC, bias = (
                build_average_map()
                if is_first
                else find_principal_components(folded, max_count=conv.out_channels)
            )
            _clear(conv)
            count = len(components_KC)
            # Unfolding puts the four squares of a channel next to each other, row by row.
            conv.weight[:count, : folded[0].shape[1] // 4, :2, :2] = components_KC.view(count, -1, 2, 2)
            conv.bias[:count] = bias
            features = [_apply_map(each, components_KC, bias) for each in folded]
            levels.append(features)
    components_KC, bias = find_principal_components(features, max_count=vae.config.latent_channels)
    _set_last_level(vae, components_KC, bias)
    return [*levels, [_apply_map(each, components_KC, bias) for each in features]]


@torch.no_grad()
def set_decoder(vae: AutoencoderKLFlux2, levels: Sequence[Pictures]) -> None:
    """Compute the decoder, which leads from the latents back to each finer level."""
    decoder = vae.decoder
    count = vae.config.latent_channels
    _clear(vae.post_quant_conv)
    _set_matrix(vae.post_quant_conv, torch.eye(count))
    decoder.conv_in.weight[:count] = 0
    decoder.conv_in.bias[:count] = 0
    decoder.conv_in.weight[range(count), range(count), 1, 1] = 1
    features = levels[-1]
    finer = list(reversed(levels[:-2]))
    for block in decoder.up_blocks:
        _set_identity(block)
        if block.upsamplers:
            conv = block.upsamplers[0].conv
            features = _fit_upsampler(conv, features, finer.pop(0))
    _set_colours(vae)


@torch.no_grad()
def encode(vae: AutoencoderKLFlux2, pixels: torch.Tensor) -> torch.Tensor:
    """Compute the encoder's latents in a tenth of the time, without its branches that are zero."""
    encoder = vae.encoder
    features = encoder.conv_in(pixels)
    for block in encoder.down_blocks:
        shortcut = block.resnets[0].conv_shortcut
        features = features if shortcut is None else shortcut(features)
        for downsampler in block.downsamplers or ():
            features = downsampler(features)
    latents: torch.Tensor = features[:, : vae.config.latent_channels]
    return latents


def build_average_map() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the map to the mean colour of four neighbours, and its bias."""
    return torch.eye(3).repeat_interleave(4, 1) / 4, torch.zeros(3)


def find_principal_components(features: Pictures, *, max_count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the map to the first principal components, and its bias.

    Map and bias together centre and rotate the features.
    """
    flat_NC = torch.cat([each.transpose(1, 3).flatten(0, 2) for each in features])
    generator = torch.Generator().manual_seed(0)
    flat_NC = flat_NC[torch.randint(len(flat_NC), (SAMPLE_COUNT,), generator=generator)]
    _, vectors = torch.linalg.eigh(torch.cov(flat_NC.T))
    components_KC = vectors.flip(1)[:, :max_count].T
    return components_KC, -components_KC @ flat_NC.mean(0)


def _apply_map(each: torch.Tensor, components_KC: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(each, components_KC[:, :, None, None], bias)


def _set_last_level(vae: AutoencoderKLFlux2, components_KC: torch.Tensor, bias: torch.Tensor) -> None:
    """Set the last level, whose components must pass a normalisation and a SiLU unchanged.

    Each component is there with either sign: the pair has mean zero, and silu(x) - silu(-x) is x.
    """
    encoder, count = vae.encoder, len(components_KC)
    last = encoder.down_blocks[-1].resnets[0].conv_shortcut
    _clear(last)
    for sign, start in ((1, 0), (-1, count)):
        last.weight[start : start + count, : components_KC.shape[1], 0, 0] = sign * components_KC
        last.bias[start : start + count] = sign * bias
    last.bias[2 * count : 2 * count + 2] = torch.tensor([ENCODER_ANCHOR, -ENCODER_ANCHOR])
    _set_identity(encoder.mid_block)
    encoder.conv_norm_out.weight.fill_(_compute_deviation(ENCODER_ANCHOR, last.out_channels))
    encoder.conv_norm_out.bias.zero_()
    _clear(encoder.conv_out)
    for at in range(count):
        encoder.conv_out.weight[at, at, 1, 1] = 1
        encoder.conv_out.weight[at, at + count, 1, 1] = -1
    _clear(vae.quant_conv)
    _set_matrix(vae.quant_conv, torch.eye(count))
    vae.quant_conv.bias[count:] = LOG_VARIANCE


def _set_colours(vae: AutoencoderKLFlux2) -> None:
    """Set the decoder's last, normalised level, in the same way as the encoder's last level."""
    decoder = vae.decoder
    conv = decoder.up_blocks[-2].upsamplers[0].conv
    conv.weight[3:6], conv.bias[3:6] = -conv.weight[:3], -conv.bias[:3]
    conv.weight[6:8] = 0
    conv.bias[6:8] = torch.tensor([DECODER_ANCHOR, -DECODER_ANCHOR])
    decoder.conv_norm_out.weight.fill_(_compute_deviation(DECODER_ANCHOR, decoder.conv_norm_out.num_channels))
    _clear(decoder.conv_out)
    for at in range(3):
        decoder.conv_out.weight[at, at, 1, 1] = 1
        decoder.conv_out.weight[at, at + 3, 1, 1] = -1


def _fit_upsampler(conv: nn.Conv2d, coarse: Pictures, fine: Pictures) -> Pictures:
    """Fit a convolution of enlarged features to finer ones, and return its output."""
    product, target = torch.zeros(()), torch.zeros(())
    for each, wanted in zip(coarse, fine, strict=True):
        for one, other in zip(each.split(8), wanted.split(8), strict=True):
            enlarged = functional.interpolate(one, scale_factor=2, mode="nearest")
            unfolded = functional.unfold(enlarged, 3, padding=1)
            inputs_NC = functional.pad(unfolded.transpose(1, 2).flatten(0, 1), (0, 1), value=1.0)
            product = product + inputs_NC.T @ inputs_NC
            target = target + inputs_NC.T @ other.flatten(2).transpose(1, 2).flatten(0, 1)
    product = product + RIDGE * product.diagonal().mean() * torch.eye(len(product))
    solution = torch.linalg.solve(product, target)
    count_in, count_out = coarse[0].shape[1], fine[0].shape[1]
    conv.weight[:count_out] = 0
    conv.weight[:count_out, :count_in] = solution[:-1].T.reshape(count_out, count_in, 3, 3)
    _require_bias(conv)[:count_out] = solution[-1]
    weight, bias = conv.weight[:count_out, :count_in], solution[-1]
    return [
        functional.conv2d(
            functional.interpolate(each, scale_factor=2, mode="nearest"), weight, bias, padding=1
        )
        for each in coarse
    ]


def _set_identity(block: Any) -> None:
    """Set a block's residual branches to zero, and let its shortcuts keep the first channels."""
    for resnet in block.resnets:
        _clear(resnet.conv2)
        if resnet.conv_shortcut is not None:
            shortcut = resnet.conv_shortcut
            _set_matrix(shortcut, torch.eye(min(shortcut.in_channels, shortcut.out_channels)))


def _set_matrix(conv: nn.Conv2d, first: torch.Tensor) -> None:
    """Set a convolution to a matrix of its first channels, at the middle of the kernel."""
    _clear(conv)
    middle = conv.kernel_size[0] // 2
    conv.weight[: first.shape[0], : first.shape[1], middle, middle] = first


def _clear(conv: nn.Conv2d) -> None:
    conv.weight.zero_()
    _require_bias(conv).zero_()


def _require_bias(conv: nn.Conv2d) -> torch.Tensor:
    assert conv.bias is not None
    return conv.bias


def _compute_deviation(anchor: float, channels: int) -> float:
    return float((2 * anchor**2 / channels) ** 0.5)
