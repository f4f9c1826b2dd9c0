"""The stages `vae` and `decoder`: pictures to latents and back, then back alone, more sharply."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline
from torch.nn import functional

from demo_model.painter import paint
from demo_model.painter.scene import scenes
from demo_model.parts import autoencoder
from demo_model.train.course import Course, Sitting, averaged_copy, drawn_at
from demo_model.train.studio import HELD_OUT_SEEDS, VAE_SEEDS, Studio

RATE = 6e-4
# Weighs nats a latent against the mean error of a pixel. Without it latents have no scale that a flow could learn.
KL_WEIGHT = 1e-3
EDGE_WEIGHT = 0.5
# What a transformer's latents are off by; a decoder that has seen such errors paints over them.
LATENT_ERROR = 0.08
# A channel that carries nothing is not blown up to the size of one that does.
LEAST_VARIANCE = 0.02
ENCODED_AT_ONCE = 32
HELD_OUT = 24


def train(
    studio: Studio,
    sitting: Sitting,
    *,
    side: int,
    crop: int,
    batch: int,
    picture_count: int,
    is_decoder: bool,
) -> None:
    """Trains both halves, or the decoder alone once the latents are settled, on crops of painted pictures."""
    vae, course = taken_up(studio, is_decoder=is_decoder)
    pictures_NCHW = painted(studio, first_seed=VAE_SEEDS, count=picture_count, side=side)
    shown_BCHW = painted(studio, first_seed=HELD_OUT_SEEDS, count=HELD_OUT, side=side).float() / 127.5 - 1
    if is_decoder and course.step == 0:
        settle(vae, studio, pictures_NCHW)

    def loss_at(step: int) -> torch.Tensor:
        crops_BCHW = _crops(pictures_NCHW, drawn_at(step, torch.device("cpu")), batch=batch, crop=crop)
        with studio.reckoning():
            return decoder_loss(vae, crops_BCHW, step) if is_decoder else loss_of(vae, crops_BCHW, step)

    def report() -> str:
        copied = averaged_copy(vae, course)
        return f"reconstruction {reconstruction_decibels(copied, shown_BCHW):.2f} dB"

    course.run(loss_at, sitting, report=report, name="decoder" if is_decoder else "vae")


def taken_up(studio: Studio, *, is_decoder: bool) -> tuple[AutoencoderKLFlux2, Course]:
    """The autoencoder as it stands, with its course. The decoder's begins from what the first stage came to."""
    torch.manual_seed(0)
    vae = autoencoder(studio.sizes).to(studio.device, memory_format=torch.channels_last)
    first = Course(checkpoint(studio, "vae"), [vae], rate=RATE)
    if not is_decoder:
        return vae, first
    vae = averaged_copy(vae, first).requires_grad_(True)
    frozen = [vae.encoder, vae.quant_conv]
    return vae, Course(checkpoint(studio, "decoder"), [vae], rate=RATE, frozen=frozen)


def finished(studio: Studio) -> AutoencoderKLFlux2:
    """The trained autoencoder. Raises FileNotFoundError before the stage `decoder`, in which latents are settled."""
    if not checkpoint(studio, "decoder").is_file():
        raise FileNotFoundError(f"{checkpoint(studio, 'decoder')}: train the stages vae and decoder first")
    vae, course = taken_up(studio, is_decoder=True)
    trained: AutoencoderKLFlux2 = averaged_copy(vae, course)
    return trained


def checkpoint(studio: Studio, stage: str) -> Path:
    """Where the stage is kept."""
    return studio.folder / f"{stage}.pt"


@torch.no_grad()
def painted(studio: Studio, *, first_seed: int, count: int, side: int) -> torch.Tensor:
    """Square pictures as bytes."""
    parts, at_once = [], studio.pictures_at_once(side, side)
    for start in range(first_seed, first_seed + count, at_once):
        seeds = range(start, min(start + at_once, first_seed + count))
        pixels = paint(scenes(seeds), width=side, height=side, device=studio.device)
        parts.append((pixels * 255).round().byte())
    return torch.cat(parts)


def loss_of(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """What the autoencoder gets wrong, and how much its latents tell."""
    posterior = vae.encode(pixels_BCHW).latent_dist
    deviation = posterior.std
    noise = torch.randn(
        deviation.shape, generator=drawn_at(step, deviation.device, salt=1), device=deviation.device
    )
    seen_BCHW = vae.decode(posterior.mean + deviation * noise).sample
    nats = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    loss: torch.Tensor = _difference(seen_BCHW, pixels_BCHW) + KL_WEIGHT * nats
    return loss


def decoder_loss(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """What the decoder gets wrong of settled latents that are a little off."""
    with torch.no_grad():
        latents_BCHW = vae.encode(pixels_BCHW).latent_dist.mode()
        noise = torch.randn(
            latents_BCHW.shape,
            generator=drawn_at(step, latents_BCHW.device, salt=1),
            device=latents_BCHW.device,
        )
        latents_BCHW = latents_BCHW + LATENT_ERROR * latents_BCHW.std(dim=(0, 2, 3), keepdim=True) * noise
    return _difference(vae.decode(latents_BCHW).sample, pixels_BCHW)


@torch.no_grad()
def settle(vae: AutoencoderKLFlux2, studio: Studio, pictures_NCHW: torch.Tensor) -> None:
    """Measures the latents' mean and variance, by which the pipeline scales them."""
    packed = []
    for bytes_BCHW in pictures_NCHW[:512].split(ENCODED_AT_ONCE):
        with studio.reckoning():
            latents = vae.encode(bytes_BCHW.float() / 127.5 - 1).latent_dist.mode()
        packed.append(Flux2KleinPipeline._patchify_latents(latents).float())
    latents_NCHW = torch.cat(packed)
    variance_C, mean_C = torch.var_mean(latents_NCHW, dim=(0, 2, 3))
    vae.bn.running_mean.copy_(mean_C)
    vae.bn.running_var.copy_(variance_C.clamp_min(LEAST_VARIANCE * float(variance_C.max())))


@torch.no_grad()
def reconstruction_decibels(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> float:
    """The peak signal-to-noise ratio of pictures that went through, on average."""
    seen_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mode()).sample.clamp(-1, 1)
    error_B = ((seen_BCHW - pixels_BCHW) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error_B.log10()).mean())


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
    chosen_B = torch.randint(count, (batch,), generator=drawn).to(pictures_NCHW.device)
    top, left = (int(torch.randint(side - crop + 1, (1,), generator=drawn)) for side in (height, width))
    crops = pictures_NCHW[chosen_B, :, top : top + crop, left : left + crop].float() / 127.5 - 1
    return crops.contiguous(memory_format=torch.channels_last)
