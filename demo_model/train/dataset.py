"""The stage `encode`: paints what the transformer learns from, and keeps it as latents and tokens."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline
from torch.nn import functional

from demo_model.captions import caption
from demo_model.config import PLANS, Kind
from demo_model.edit_pairs import Edit, blend, edit
from demo_model.networks import tokens_of
from demo_model.painter import paint
from demo_model.painter.scene import Scene, scenes
from demo_model.train import pca_autoencoder
from demo_model.train.autoencoder import checkpoint, finished
from demo_model.train.run import POOL_SEEDS, Studio
from demo_model.train.trainer import Say, write

# Wordings of each picture. An edit has the one that it was made with.
CAPTIONS = 4
PART = 64
SEEDS_A_SCENE = 4
# One scene in nine has no subject; among so many is one that has.
SURELY_SHOWN = 16
# Where a target's subject is, is seen well enough on a picture of a token's side divided by so much.
MASK_TOKEN = 4
# A pixel that changes by less than this, of 1, when the subject is left out, does not show it.
SHOWN = 0.05


class Example(NamedTuple):
    """What is to be painted, from what, and in which words it may be asked for."""

    target: Scene
    sources: tuple[Scene, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EncodedDataset:
    """All orders of a kind, encoded: latents as the transformer sees them, N orders, K wordings, L tokens.

    `subjects_NHW` says which tokens of a target show its subject.
    """

    kind: Kind
    targets_NCHW: torch.Tensor
    sources_NCHW: tuple[torch.Tensor, ...]
    tokens_NKL: torch.Tensor
    subjects_NHW: torch.Tensor

    def to(self, device: torch.device) -> "EncodedDataset":
        """The same on a device."""
        return EncodedDataset(
            kind=self.kind,
            targets_NCHW=self.targets_NCHW.to(device),
            sources_NCHW=tuple(each.to(device) for each in self.sources_NCHW),
            tokens_NKL=self.tokens_NKL.to(device),
            subjects_NHW=self.subjects_NHW.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Orders of a kind that are painted, encoded and kept together."""

    kind: Kind
    seeds: range

    def path(self, folder: Path) -> Path:
        """Its file in a folder."""
        return folder / f"{self.kind.name}.{self.seeds.start}-{self.seeds.stop}.pt"

    def pictures(self) -> list[tuple[list[Scene], tuple[int, int]]]:
        """What it shows."""
        return pictures_of(self.kind, orders(self.kind, self.seeds))


def prepaint(
    studio: Studio, *, plan: str, count: int, say: Say = print, first_seed: int = POOL_SEEDS
) -> None:
    """Paints what `fill` will encode, so that painting need not wait for the autoencoder."""
    for part in _parts(plan, count, first_seed):
        path = part.path(studio.folder / "painted" / plan)
        if not path.is_file():
            write(path, [_painted(studio, shown, size) for shown, size in part.pictures()])
            say(f"paint {path.stem}")


def fill(studio: Studio, *, plan: str, count: int, say: Say = print, first_seed: int = POOL_SEEDS) -> None:
    """Paints and encodes `count` orders of the plan's kinds, part by part. What is there already is kept."""
    vae = finished(studio).to(memory_format=torch.channels_last)
    for part in _parts(plan, count, first_seed):
        path = part.path(_folder(studio, plan))
        if path.is_file():
            continue
        painted = part.path(studio.folder / "painted" / plan)
        known = torch.load(painted, weights_only=True) if painted.is_file() else None
        lot = encoded(studio, vae, part.kind, orders(part.kind, part.seeds), painted=known)
        kept = {
            "targets": lot.targets_NCHW,
            "sources": list(lot.sources_NCHW),
            "tokens": lot.tokens_NKL,
            "subjects": lot.subjects_NHW,
        }
        write(path, kept)
        painted.unlink(missing_ok=True)
        say(f"encode {path.stem}")


def filled(studio: Studio, *, plan: str) -> list[EncodedDataset]:
    """What `fill` has written so far. Raises FileNotFoundError if that is nothing."""
    lots = []
    for kind in PLANS[plan]:
        paths = sorted(_folder(studio, plan).glob(f"{kind.name}.*.pt"))
        if not paths:
            continue
        kept = [torch.load(path, weights_only=True) for path in paths]
        lots.append(
            EncodedDataset(
                kind=kind,
                targets_NCHW=torch.cat([each["targets"] for each in kept]),
                sources_NCHW=tuple(map(torch.cat, zip(*(each["sources"] for each in kept), strict=True))),
                tokens_NKL=torch.cat([each["tokens"] for each in kept]),
                subjects_NHW=torch.cat([each["subjects"] for each in kept]),
            )
        )
    if not lots:
        raise FileNotFoundError(f"{_folder(studio, plan)} is empty: run the stage encode first")
    return lots


def orders(kind: Kind, seeds: Sequence[int]) -> list[Example]:
    """An order of this kind for each seed, with all its wordings."""
    drawn = scenes(seeds) if kind.sources else _scenes_of(kind, seeds)
    if not kind.sources:
        return [
            Example(
                target=scene,
                sources=(),
                texts=tuple(caption(scene, seed=scene.seed + at).text for at in range(CAPTIONS)),
            )
            for scene in drawn
        ]
    if len(kind.sources) == 1:
        return [_order(edit(scene, seed=scene.seed)) for scene in drawn]
    tried = _scenes_of(kind, range(seeds[0] + 500_000, seeds[-1] + 500_000 + SURELY_SHOWN))
    shown = [scene for scene in tried if scene.subject != "none"]
    return [_order(blend(shown[at % len(shown)], scene, seed=scene.seed)) for at, scene in enumerate(drawn)]


@torch.no_grad()
def encoded(
    studio: Studio,
    vae: AutoencoderKLFlux2,
    kind: Kind,
    orders: Sequence[Example],
    *,
    painted: Sequence[torch.Tensor] | None = None,
) -> EncodedDataset:
    """The orders' pictures, painted now if they are not yet, as latents, and their wordings as tokens."""
    words = [text for order in orders for text in (order.texts * CAPTIONS)[:CAPTIONS]]
    if painted is None:
        painted = [_painted(studio, shown, size) for shown, size in pictures_of(kind, orders)]
    targets_NCHW, *sources = (_latents(studio, vae, bytes_NCHW) for bytes_NCHW in painted)
    return EncodedDataset(
        kind=kind,
        targets_NCHW=targets_NCHW,
        sources_NCHW=tuple(sources),
        tokens_NKL=tokens_of(words, studio.sizes).view(len(orders), CAPTIONS, -1).short(),
        subjects_NHW=subjects_shown([order.target for order in orders], kind.size, studio),
    )


def subjects_shown(shown: Sequence[Scene], size: tuple[int, int], studio: Studio) -> torch.Tensor:
    """Which tokens of these scenes' pictures show the subject: those that it changes, of shape (N, H, W)."""
    width, height = (side // studio.sizes.patch_pixels * MASK_TOKEN for side in size)
    without = [replace(scene, subject="none") for scene in shown]
    with_BCHW, without_BCHW = (
        paint(each, width=width, height=height, device=studio.device) for each in (shown, without)
    )
    changes_B1HW = (with_BCHW - without_BCHW).abs().amax(1, keepdim=True)
    return (functional.max_pool2d(changes_B1HW, MASK_TOKEN) > SHOWN).squeeze(1).cpu()


def scaled_latents(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Pictures, from -1 to 1, as the pipeline gives them to the transformer."""
    latents_BCHW: torch.Tensor = Flux2KleinPipeline._patchify_latents(
        pca_autoencoder.encoded(vae, pixels_BCHW)
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


def _scenes_of(kind: Kind, seeds: Sequence[int]) -> list[Scene]:
    """A scene for each seed; where the kind has only some subjects, of the seeds from there on that have them."""
    if not kind.subjects:
        return scenes(seeds)
    # A range of seeds for each, so that neighbours share no scene; few subjects may leave fewer scenes.
    tried = scenes(range(seeds[0] * SEEDS_A_SCENE, (seeds[-1] + 1) * SEEDS_A_SCENE))
    return list(islice((scene for scene in tried if scene.subject in kind.subjects), len(seeds)))


def _order(change: Edit) -> Example:
    return Example(target=change.target, sources=change.sources, texts=(change.instruction,))


def pictures_of(kind: Kind, orders: Sequence[Example]) -> list[tuple[list[Scene], tuple[int, int]]]:
    """What is to be painted, and how large: the targets, then each source."""
    sources = [([order.sources[at] for order in orders], size) for at, size in enumerate(kind.sources)]
    return [([order.target for order in orders], kind.size), *sources]


def _painted(studio: Studio, shown: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    width, height = size
    at_once = studio.pictures_at_once(width, height)
    parts = []
    for start in range(0, len(shown), at_once):
        pixels = paint(shown[start : start + at_once], width=width, height=height, device=studio.device)
        parts.append((pixels * 255).round().byte().cpu())
    return torch.cat(parts)


def _latents(studio: Studio, vae: AutoencoderKLFlux2, bytes_NCHW: torch.Tensor) -> torch.Tensor:
    parts = []
    for bytes_BCHW in bytes_NCHW.split(studio.pictures_at_once(*bytes_NCHW.shape[2:])):
        pixels = bytes_BCHW.to(studio.device).float() / 127.5 - 1
        latents_BCHW = scaled_latents(vae, pixels.contiguous(memory_format=torch.channels_last))
        parts.append(latents_BCHW.half().cpu())
    return torch.cat(parts)


def _parts(plan: str, count: int, first_seed: int) -> Iterator[Shard]:
    """All kinds grow together, so that a pool that is not full yet has something of each."""
    kinds = PLANS[plan]
    wanted = [max(1, round(count * kind.share)) for kind in kinds]
    parts = [
        (min(start + PART, most) / most, number, start, min(start + PART, most))
        for number, most in enumerate(wanted)
        for start in range(0, most, PART)
    ]
    for _, number, start, end in sorted(parts):
        seed = first_seed + number * 1_000_000
        yield Shard(kind=kinds[number], seeds=range(seed + start, seed + end))


def _folder(studio: Studio, plan: str) -> Path:
    """Latents of another autoencoder are others, so its weights are part of the name."""
    weights = torch.load(checkpoint(studio), map_location="cpu", weights_only=True)["networks"][0]
    settled = (
        weights["bn.running_mean"].numpy().tobytes() + weights["encoder.conv_in.weight"].numpy().tobytes()
    )
    return studio.folder / "pool" / f"{plan}-{hashlib.sha256(settled).hexdigest()[:8]}"
