"""Stages `encoder` and `decoder`. The encoder is computed once, and the decoder is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline
from torch.nn import functional

from demo_model.networks import build_autoencoder
from demo_model.painter import paint
from demo_model.painter.scene import draw_scenes
from demo_model.train.pca_autoencoder import encode, set_decoder, set_encoder
from demo_model.train.run import AUTOENCODER_FIRST_SEED, HELD_OUT_FIRST_SEED, TrainingRun
from demo_model.train.trainer import Budget, Trainer, copy_averaged, make_generator, write_atomically

LEARNING_RATE: Final = 1e-3
EDGE_WEIGHT: Final = 0.5
# A transformer's latents are off by this much at most. A decoder that has learned such errors corrects them.
MAX_LATENT_ERROR: Final = 0.2
# Latents are scaled by this power of their variance. With 0, noise would hide everything but colours. With 1, a
# channel with little information would be as large as one with much, and as hard to learn.
VARIANCE_EXPONENT: Final = 0.6
# The autoencoder is computed from pictures of these sides, with this many pixels of each.
INITIAL_SIDES: Final = (512, 1024)
INITIAL_PIXEL_COUNT: Final = 2**23
ENCODING_BATCH_SIZE: Final = 32
HELD_OUT_COUNT: Final = 8


def initialize(
    run: TrainingRun, *, sides: Sequence[int] = INITIAL_SIDES, pixel_count: int = INITIAL_PIXEL_COUNT
) -> None:
    """Compute encoder and decoder from painted pictures, and measure the scale of the latents.

    Raises FileExistsError if there is a checkpoint.
    """
    path = locate_checkpoint(run)
    if path.exists():
        raise FileExistsError(f"{path} exists already.")
    pictures = [
        _collect_pictures(run, count=max(1, pixel_count // side**2), side=side).cpu().float() / 127.5 - 1
        for side in sides
    ]
    torch.manual_seed(0)
    vae = build_autoencoder(run.sizes)
    set_decoder(vae, set_encoder(vae, pictures))
    measure_latent_scale(vae, pictures)
    write_atomically(path, {"step": 0, "networks": [vae.state_dict()]})


def train(
    run: TrainingRun, budget: Budget, *, sides: Sequence[int], crop: int, batch: int, picture_count: int
) -> None:
    """Train the decoder on crops of painted pictures, of each size in turn.

    `picture_count` is for the first of the sides. The others have as many pixels in total.
    """
    vae, trainer = load(run)
    counts = [max(1, picture_count * sides[0] ** 2 // side**2) for side in sides]
    pictures = [
        _collect_pictures(run, count=count, side=side) for side, count in zip(sides, counts, strict=True)
    ]
    shown = paint_squares(run, first_seed=HELD_OUT_FIRST_SEED, count=HELD_OUT_COUNT, side=sides[0])
    shown_BCHW = shown.float() / 127.5 - 1
    run.compile_networks(vae.decoder)

    def compute_loss(step: int) -> torch.Tensor:
        generator = make_generator(step, torch.device("cpu"))
        crops_BCHW = _draw_crops(pictures[step % len(pictures)], generator, batch=batch, crop=crop).to(
            run.device
        )
        with run.autocast():
            return compute_decoder_loss(vae, crops_BCHW, step)

    def report() -> str:
        copied = copy_averaged(vae, trainer)
        return f"reconstruction {measure_psnr_decibels(copied, shown_BCHW):.2f} dB"

    trainer.train(compute_loss, budget, report=report, name="decoder")


def load(run: TrainingRun) -> tuple[AutoencoderKLFlux2, Trainer]:
    """Load the autoencoder and its decoder's trainer. Raises FileNotFoundError before `initialize`."""
    path = locate_checkpoint(run)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Run the stage encoder first.")
    vae = build_autoencoder(run.sizes).to(run.device, memory_format=torch.channels_last)
    return vae, Trainer(path, [vae], learning_rate=LEARNING_RATE, frozen=[vae.encoder, vae.quant_conv])


def load_trained(run: TrainingRun) -> AutoencoderKLFlux2:
    """Load the autoencoder with averaged weights. Raises FileNotFoundError before `initialize`."""
    vae, trainer = load(run)
    trained: AutoencoderKLFlux2 = copy_averaged(vae, trainer)
    return trained


def locate_checkpoint(run: TrainingRun) -> Path:
    """Return the path of the checkpoint."""
    return run.folder / "decoder.pt"


@torch.no_grad()
def paint_squares(run: TrainingRun, *, first_seed: int, count: int, side: int) -> torch.Tensor:
    """Paint square pictures, as bytes of shape (N, 3, side, side)."""
    parts, batch_size = [], run.choose_batch_size(side, side)
    for start in range(first_seed, first_seed + count, batch_size):
        seeds = range(start, min(start + batch_size, first_seed + count))
        pixels = paint(draw_scenes(seeds), width=side, height=side, device=run.device)
        parts.append((pixels * 255).round().byte())
    return torch.cat(parts)


def compute_decoder_loss(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """Compute the error of pictures decoded from latents with a little noise."""
    with torch.no_grad():
        with torch.autocast(pixels_BCHW.device.type, enabled=False):
            latents_BCHW = encode(vae, pixels_BCHW)
        noise = torch.randn(
            latents_BCHW.shape,
            generator=make_generator(step, latents_BCHW.device, salt=1),
            device=latents_BCHW.device,
        )
        # Each latent is four of the transformer's channels, one for each square of its patch.
        scale_C = vae.bn.running_var.view(vae.config.latent_channels, -1).mean(1).sqrt().view(1, -1, 1, 1)
        level_B = torch.rand(
            len(noise), generator=make_generator(step, noise.device, salt=8), device=noise.device
        )
        latents_BCHW = latents_BCHW + MAX_LATENT_ERROR * level_B[:, None, None, None] * scale_C * noise
    return _compute_difference(vae.decode(latents_BCHW).sample, pixels_BCHW)


@torch.no_grad()
def measure_latent_scale(vae: AutoencoderKLFlux2, pictures: Sequence[torch.Tensor]) -> None:
    """Measure the mean and variance of the latents. The pipeline scales the latents by them."""
    packed = [
        Flux2KleinPipeline._patchify_latents(vae.encode(part).latent_dist.mode()).transpose(0, 1).flatten(1)
        for each in pictures
        for part in each.split(ENCODING_BATCH_SIZE)
    ]
    variance_C, mean_C = torch.var_mean(torch.cat(packed, dim=1), dim=1)
    vae.bn.running_mean.copy_(mean_C)
    vae.bn.running_var.copy_(variance_C**VARIANCE_EXPONENT * (variance_C ** (1 - VARIANCE_EXPONENT)).mean())


@torch.no_grad()
def measure_psnr_decibels(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> float:
    """Measure the mean peak signal-to-noise ratio of reconstructed pictures."""
    seen_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mode()).sample.clamp(-1, 1)
    error_B = ((seen_BCHW - pixels_BCHW) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error_B.log10()).mean())


def _collect_pictures(run: TrainingRun, *, count: int, side: int) -> torch.Tensor:
    """Load the pictures that are painted already, and paint the missing ones."""
    kept_NCHW = run.load_prepainted(side)[:count]
    missing = count - len(kept_NCHW)
    if not missing:
        return kept_NCHW
    return torch.cat(
        [kept_NCHW, paint_squares(run, first_seed=AUTOENCODER_FIRST_SEED, count=missing, side=side).cpu()]
    )


def _compute_difference(seen_BCHW: torch.Tensor, wanted_BCHW: torch.Tensor) -> torch.Tensor:
    """Compute the error of pixels, and of differences between neighbours at three scales.

    Edges weigh more than their few pixels would.
    """
    seen_BCHW, wanted_BCHW = seen_BCHW.float(), wanted_BCHW.float()
    loss = functional.l1_loss(seen_BCHW, wanted_BCHW) + functional.mse_loss(seen_BCHW, wanted_BCHW)
    for _ in range(3):
        for dim in (2, 3):
            loss = loss + EDGE_WEIGHT * functional.l1_loss(seen_BCHW.diff(dim=dim), wanted_BCHW.diff(dim=dim))
        seen_BCHW, wanted_BCHW = functional.avg_pool2d(seen_BCHW, 2), functional.avg_pool2d(wanted_BCHW, 2)
    return loss


def _draw_crops(
    pictures_NCHW: torch.Tensor, generator: torch.Generator, *, batch: int, crop: int
) -> torch.Tensor:
    count, _, height, width = pictures_NCHW.shape
    chosen_B = torch.randint(count, (batch,), generator=generator)
    top, left = (int(torch.randint(side - crop + 1, (1,), generator=generator)) for side in (height, width))
    crops = pictures_NCHW[chosen_B, :, top : top + crop, left : left + crop].float() / 127.5 - 1
    is_mirrored = bool(torch.rand((), generator=generator) < 0.5)
    crops = crops.flip(3) if is_mirrored else crops
    return crops.contiguous(memory_format=torch.channels_last)
