"""The stages `encoder` and `decoder`: pictures to latents, which is reckoned once, and back, which is trained."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline
from torch.nn import functional

from demo_model.networks import autoencoder
from demo_model.painter import paint
from demo_model.painter.scene import scenes
from demo_model.train.pca_autoencoder import encoded, set_decoder, set_encoder
from demo_model.train.run import HELD_OUT_SEEDS, VAE_SEEDS, Studio
from demo_model.train.trainer import Course, Sitting, averaged_copy, drawn_at, write

RATE = 1e-3
EDGE_WEIGHT = 0.5
# What a transformer's latents are off by at most; a decoder that has seen such errors paints over them.
LATENT_ERROR = 0.2
# Latents are scaled by this power of their variance: by 0, noise would drown all but colours; by 1, a channel that
# carries little would be blown up to the size of one that carries much, and be as hard to learn.
EVENNESS = 0.6
# The sides of the pictures that the autoencoder begins from, and how many pixels it sees of each.
BEGUN_FROM = (512, 1024)
BEGUN_PIXELS = 2**23
ENCODED_AT_ONCE = 32
HELD_OUT = 8


def begin(studio: Studio, *, sizes: Sequence[int] = BEGUN_FROM, pixel_count: int = BEGUN_PIXELS) -> None:
    """Sets encoder and decoder from painted pictures, and measures the latents. Raises FileExistsError."""
    path = checkpoint(studio)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    pictures = [
        _pictures(studio, count=max(1, pixel_count // side**2), side=side).cpu().float() / 127.5 - 1
        for side in sizes
    ]
    torch.manual_seed(0)
    vae = autoencoder(studio.sizes)
    set_decoder(vae, set_encoder(vae, pictures))
    settle(vae, pictures)
    write(path, {"step": 0, "networks": [vae.state_dict()]})


def train(
    studio: Studio, sitting: Sitting, *, sides: Sequence[int], crop: int, batch: int, picture_count: int
) -> None:
    """Trains the decoder on crops of painted pictures, of each size in turn; the first has so many pictures."""
    vae, course = taken_up(studio)
    counts = [max(1, picture_count * sides[0] ** 2 // side**2) for side in sides]
    pictures = [_pictures(studio, count=count, side=side) for side, count in zip(sides, counts, strict=True)]
    shown = painted(studio, first_seed=HELD_OUT_SEEDS, count=HELD_OUT, side=sides[0])
    shown_BCHW = shown.float() / 127.5 - 1
    studio.quicken(vae.decoder)

    def loss_at(step: int) -> torch.Tensor:
        drawn = drawn_at(step, torch.device("cpu"))
        crops_BCHW = _crops(pictures[step % len(pictures)], drawn, batch=batch, crop=crop).to(studio.device)
        with studio.reckoning():
            return decoder_loss(vae, crops_BCHW, step)

    def report() -> str:
        copied = averaged_copy(vae, course)
        return f"reconstruction {reconstruction_decibels(copied, shown_BCHW):.2f} dB"

    course.run(loss_at, sitting, report=report, name="decoder")


def taken_up(studio: Studio) -> tuple[AutoencoderKLFlux2, Course]:
    """The autoencoder as it stands, with its decoder's course. Raises FileNotFoundError before it has begun."""
    path = checkpoint(studio)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: run the stage encoder first")
    vae = autoencoder(studio.sizes).to(studio.device, memory_format=torch.channels_last)
    return vae, Course(path, [vae], rate=RATE, frozen=[vae.encoder, vae.quant_conv])


def finished(studio: Studio) -> AutoencoderKLFlux2:
    """The trained autoencoder. Raises FileNotFoundError."""
    vae, course = taken_up(studio)
    trained: AutoencoderKLFlux2 = averaged_copy(vae, course)
    return trained


def checkpoint(studio: Studio) -> Path:
    """Where it is kept."""
    return studio.folder / "decoder.pt"


@torch.no_grad()
def painted(studio: Studio, *, first_seed: int, count: int, side: int) -> torch.Tensor:
    """Square pictures as bytes."""
    parts, at_once = [], studio.pictures_at_once(side, side)
    for start in range(first_seed, first_seed + count, at_once):
        seeds = range(start, min(start + at_once, first_seed + count))
        pixels = paint(scenes(seeds), width=side, height=side, device=studio.device)
        parts.append((pixels * 255).round().byte())
    return torch.cat(parts)


def decoder_loss(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """What the decoder gets wrong of settled latents that are a little off."""
    with torch.no_grad():
        with torch.autocast(pixels_BCHW.device.type, enabled=False):
            latents_BCHW = encoded(vae, pixels_BCHW)
        noise = torch.randn(
            latents_BCHW.shape,
            generator=drawn_at(step, latents_BCHW.device, salt=1),
            device=latents_BCHW.device,
        )
        # A latent is four channels of what the transformer sees, one for each square of its patch.
        scale_C = vae.bn.running_var.view(vae.config.latent_channels, -1).mean(1).sqrt().view(1, -1, 1, 1)
        level_B = torch.rand(len(noise), generator=drawn_at(step, noise.device, salt=8), device=noise.device)
        latents_BCHW = latents_BCHW + LATENT_ERROR * level_B[:, None, None, None] * scale_C * noise
    return _difference(vae.decode(latents_BCHW).sample, pixels_BCHW)


@torch.no_grad()
def settle(vae: AutoencoderKLFlux2, pictures: Sequence[torch.Tensor]) -> None:
    """Measures the latents' mean and variance, by which the pipeline scales them."""
    packed = [
        Flux2KleinPipeline._patchify_latents(vae.encode(part).latent_dist.mode()).transpose(0, 1).flatten(1)
        for each in pictures
        for part in each.split(ENCODED_AT_ONCE)
    ]
    variance_C, mean_C = torch.var_mean(torch.cat(packed, dim=1), dim=1)
    vae.bn.running_mean.copy_(mean_C)
    vae.bn.running_var.copy_(variance_C**EVENNESS * (variance_C ** (1 - EVENNESS)).mean())


@torch.no_grad()
def reconstruction_decibels(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> float:
    """The peak signal-to-noise ratio of pictures that went through, on average."""
    seen_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mode()).sample.clamp(-1, 1)
    error_B = ((seen_BCHW - pixels_BCHW) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error_B.log10()).mean())


def _pictures(studio: Studio, *, count: int, side: int) -> torch.Tensor:
    """As many as are wanted: those that are painted already, then more."""
    kept_NCHW = studio.kept(side)[:count]
    missing = count - len(kept_NCHW)
    if not missing:
        return kept_NCHW
    return torch.cat([kept_NCHW, painted(studio, first_seed=VAE_SEEDS, count=missing, side=side).cpu()])


def _difference(seen_BCHW: torch.Tensor, wanted_BCHW: torch.Tensor) -> torch.Tensor:
    """The error of pixels, and of the steps between neighbours at three scales: edges count more than their width."""
    seen_BCHW, wanted_BCHW = seen_BCHW.float(), wanted_BCHW.float()
    loss = functional.l1_loss(seen_BCHW, wanted_BCHW) + functional.mse_loss(seen_BCHW, wanted_BCHW)
    for _ in range(3):
        for dim in (2, 3):
            loss = loss + EDGE_WEIGHT * functional.l1_loss(seen_BCHW.diff(dim=dim), wanted_BCHW.diff(dim=dim))
        seen_BCHW, wanted_BCHW = functional.avg_pool2d(seen_BCHW, 2), functional.avg_pool2d(wanted_BCHW, 2)
    return loss


def _crops(pictures_NCHW: torch.Tensor, drawn: torch.Generator, *, batch: int, crop: int) -> torch.Tensor:
    count, _, height, width = pictures_NCHW.shape
    chosen_B = torch.randint(count, (batch,), generator=drawn)
    top, left = (int(torch.randint(side - crop + 1, (1,), generator=drawn)) for side in (height, width))
    crops = pictures_NCHW[chosen_B, :, top : top + crop, left : left + crop].float() / 127.5 - 1
    is_turned = bool(torch.rand((), generator=drawn) < 0.5)
    crops = crops.flip(3) if is_turned else crops
    return crops.contiguous(memory_format=torch.channels_last)
