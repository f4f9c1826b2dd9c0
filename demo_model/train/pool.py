"""The stage `encode`: paints what the transformer learns from, and keeps it as latents and tokens."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline

from demo_model.captions import caption
from demo_model.edits import Edit, blend, edit
from demo_model.painter import paint
from demo_model.painter.scene import Scene, scenes
from demo_model.parts import tokens_of
from demo_model.sizes import PLANS, Kind
from demo_model.train.autoencoder import checkpoint, finished
from demo_model.train.course import Say
from demo_model.train.studio import POOL_SEEDS, Studio

# Wordings of each picture. An edit has the one that it was made with.
CAPTIONS = 4


class Order(NamedTuple):
    """What is to be painted, from what, and in which words it may be asked for."""

    target: Scene
    sources: tuple[Scene, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lot:
    """All orders of a kind, encoded: latents as the transformer sees them, N orders, K wordings, L tokens."""

    kind: Kind
    targets_NCHW: torch.Tensor
    sources_NCHW: tuple[torch.Tensor, ...]
    tokens_NKL: torch.Tensor

    def to(self, device: torch.device) -> "Lot":
        """The same on a device."""
        return Lot(
            kind=self.kind,
            targets_NCHW=self.targets_NCHW.to(device),
            sources_NCHW=tuple(each.to(device) for each in self.sources_NCHW),
            tokens_NKL=self.tokens_NKL.to(device),
        )


def fill(studio: Studio, *, plan: str, count: int, say: Say = print, first_seed: int = POOL_SEEDS) -> None:
    """Paints and encodes `count` orders of the plan's kinds. What is there already is kept."""
    vae = finished(studio).to(memory_format=torch.channels_last)
    for number, kind in enumerate(PLANS[plan]):
        share = max(1, round(count * kind.share))
        path = _path(studio, plan, kind)
        if path.is_file() and torch.load(path, weights_only=True)["targets"].shape[0] >= share:
            continue
        start = first_seed + number * 1_000_000
        lot = encoded(studio, vae, kind, orders(kind, range(start, start + share)))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        torch.save(
            {"targets": lot.targets_NCHW, "sources": list(lot.sources_NCHW), "tokens": lot.tokens_NKL},
            unfinished,
        )
        unfinished.rename(path)
        say(f"encode {kind.name}: {share} orders, {path.stat().st_size / 2**20:.0f} MiB")


def filled(studio: Studio, *, plan: str) -> list[Lot]:
    """What `fill` has written. Raises FileNotFoundError."""
    lots = []
    for kind in PLANS[plan]:
        kept = torch.load(_path(studio, plan, kind), weights_only=True)
        lots.append(
            Lot(
                kind=kind,
                targets_NCHW=kept["targets"],
                sources_NCHW=tuple(kept["sources"]),
                tokens_NKL=kept["tokens"],
            )
        )
    return lots


def orders(kind: Kind, seeds: Sequence[int]) -> list[Order]:
    """An order of this kind for each seed, with all its wordings."""
    drawn = scenes(seeds)
    if not kind.sources:
        return [
            Order(
                target=scene,
                sources=(),
                texts=tuple(caption(scene, seed=scene.seed + at).text for at in range(CAPTIONS)),
            )
            for scene in drawn
        ]
    if len(kind.sources) == 1:
        return [_order(edit(scene, seed=scene.seed)) for scene in drawn]
    shown = [scene for scene in scenes([seed + 500_000 for seed in seeds]) if scene.subject != "none"]
    return [
        _order(blend(shown[at % len(shown)], scene, seed=scene.seed))
        for at, scene in enumerate(drawn)
        if shown
    ]


@torch.no_grad()
def encoded(studio: Studio, vae: AutoencoderKLFlux2, kind: Kind, orders: Sequence[Order]) -> Lot:
    """The orders' pictures as latents, and their wordings as tokens."""
    words = [text for order in orders for text in (order.texts * CAPTIONS)[:CAPTIONS]]
    return Lot(
        kind=kind,
        targets_NCHW=_latents(studio, vae, [order.target for order in orders], kind.size),
        sources_NCHW=tuple(
            _latents(studio, vae, [order.sources[at] for order in orders], size)
            for at, size in enumerate(kind.sources)
        ),
        tokens_NKL=tokens_of(words, studio.sizes).view(len(orders), CAPTIONS, -1).short(),
    )


def scaled_latents(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Pictures, from -1 to 1, as the pipeline gives them to the transformer."""
    latents_BCHW: torch.Tensor = Flux2KleinPipeline._patchify_latents(
        vae.encode(pixels_BCHW).latent_dist.mode()
    )
    mean_C, deviation_C = scale_of(vae)
    return (latents_BCHW.float() - mean_C) / deviation_C


def unscaled_pictures(vae: AutoencoderKLFlux2, latents_BCHW: torch.Tensor) -> torch.Tensor:
    """The pictures, from 0 to 1, that the pipeline would decode of a transformer's latents."""
    mean_C, deviation_C = scale_of(vae)
    unpacked = Flux2KleinPipeline._unpatchify_latents(latents_BCHW * deviation_C + mean_C)
    pictures_BCHW: torch.Tensor = vae.decode(unpacked).sample
    return (pictures_BCHW.float() / 2 + 0.5).clamp(0, 1)


def scale_of(vae: AutoencoderKLFlux2) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents' mean and deviation."""
    deviation_C = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
    return vae.bn.running_mean.view(1, -1, 1, 1), deviation_C.view(1, -1, 1, 1)


def _order(change: Edit) -> Order:
    return Order(target=change.target, sources=change.sources, texts=(change.instruction,))


def _latents(
    studio: Studio, vae: AutoencoderKLFlux2, shown: Sequence[Scene], size: tuple[int, int]
) -> torch.Tensor:
    width, height = size
    at_once = studio.pictures_at_once(width, height)
    parts = []
    for start in range(0, len(shown), at_once):
        pixels = paint(shown[start : start + at_once], width=width, height=height, device=studio.device)
        pixels = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        with studio.reckoning():
            parts.append(scaled_latents(vae, pixels).half().cpu())
    return torch.cat(parts)


def _path(studio: Studio, plan: str, kind: Kind) -> Path:
    """Latents of another autoencoder are others, so its weights are part of the name."""
    weights = torch.load(checkpoint(studio, "decoder"), map_location="cpu", weights_only=True)["networks"][0]
    settled = (
        weights["bn.running_mean"].numpy().tobytes() + weights["encoder.conv_in.weight"].numpy().tobytes()
    )
    return studio.folder / "pool" / f"{plan}-{hashlib.sha256(settled).hexdigest()[:8]}" / f"{kind.name}.pt"
