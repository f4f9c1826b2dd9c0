"""Stages `paint` and `encode`: the transformer's examples, kept as latents and tokens."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline
from torch.nn import functional

from demo_model.config import PLANS, ExampleKind
from demo_model.networks import tokenize
from demo_model.painter import paint
from demo_model.painter.scene import PLACES, Scene
from demo_model.train import pca_autoencoder
from demo_model.train.autoencoder import load_trained, locate_checkpoint
from demo_model.train.examples import CAPTIONS_PER_PICTURE, Example, make_examples
from demo_model.train.run import DATASET_FIRST_SEED, TrainingRun
from demo_model.train.trainer import PrintLine, write_atomically

SHARD_SIZE: Final = 64
# A picture with this many pixels for each side of a token is large enough to find the subject.
MASK_PIXELS_PER_TOKEN: Final = 4
# A pixel shows the subject if it changes by more than this, on a scale of 1, when the subject is left out.
MIN_PIXEL_CHANGE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class EncodedDataset:
    """All examples of a kind, encoded: N examples, K texts, L tokens.

    The latents are scaled as the transformer sees them.
    `subjects_NHW` marks the tokens of a target that show its subject. `places_N` has indexes of PLACES.
    """

    kind: ExampleKind
    targets_NCHW: torch.Tensor
    sources_NCHW: tuple[torch.Tensor, ...]
    tokens_NKL: torch.Tensor
    subjects_NHW: torch.Tensor
    places_N: torch.Tensor

    def to(self, device: torch.device) -> "EncodedDataset":
        """Copy the dataset to a device."""
        return EncodedDataset(
            kind=self.kind,
            targets_NCHW=self.targets_NCHW.to(device),
            sources_NCHW=tuple(each.to(device) for each in self.sources_NCHW),
            tokens_NKL=self.tokens_NKL.to(device),
            subjects_NHW=self.subjects_NHW.to(device),
            places_N=self.places_N.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Examples of a kind that are painted, encoded and saved together."""

    kind: ExampleKind
    seeds: range

    def locate(self, folder: Path) -> Path:
        """Return the path of the shard's file in a folder."""
        return folder / f"{self.kind.name}.{self.seeds.start}-{self.seeds.stop}.pt"

    def list_pictures(self) -> list[tuple[list[Scene], tuple[int, int]]]:
        """List the scenes of the shard's pictures, with their sizes."""
        return list_pictures(self.kind, make_examples(self.kind, self.seeds))


def prepaint(
    run: TrainingRun,
    *,
    plan: str,
    count: int,
    print_line: PrintLine = print,
    first_seed: int = DATASET_FIRST_SEED,
) -> None:
    """Paint the pictures that `fill` will encode. Painting does not need the autoencoder. Existing shards are kept."""
    for shard in _plan_shards(plan, count, first_seed):
        path = shard.locate(run.folder / "painted" / plan)
        if not path.is_file():
            write_atomically(path, [_paint_bytes(run, shown, size) for shown, size in shard.list_pictures()])
            print_line(f"paint {path.stem}")


def fill(
    run: TrainingRun,
    *,
    plan: str,
    count: int,
    print_line: PrintLine = print,
    first_seed: int = DATASET_FIRST_SEED,
) -> None:
    """Paint and encode `count` examples of the plan's kinds, shard by shard. Existing shards are kept."""
    vae = load_trained(run).to(memory_format=torch.channels_last)
    for shard in _plan_shards(plan, count, first_seed):
        path = shard.locate(_locate_folder(run, plan))
        if path.is_file():
            continue
        painted = shard.locate(run.folder / "painted" / plan)
        prepainted = torch.load(painted, weights_only=True) if painted.is_file() else None
        dataset = encode_examples(
            run, vae, shard.kind, make_examples(shard.kind, shard.seeds), painted=prepainted
        )
        tensors = {
            "targets": dataset.targets_NCHW,
            "sources": list(dataset.sources_NCHW),
            "tokens": dataset.tokens_NKL,
            "subjects": dataset.subjects_NHW,
            "places": dataset.places_N,
        }
        write_atomically(path, tensors)
        painted.unlink(missing_ok=True)
        print_line(f"encode {path.stem}")


def load_datasets(run: TrainingRun, *, plan: str) -> list[EncodedDataset]:
    """Load the shards that `fill` has written so far. Raises FileNotFoundError if there are none."""
    datasets = []
    for kind in PLANS[plan]:
        paths = sorted(_locate_folder(run, plan).glob(f"{kind.name}.*.pt"))
        if not paths:
            continue
        shards = [torch.load(path, weights_only=True) for path in paths]
        datasets.append(
            EncodedDataset(
                kind=kind,
                targets_NCHW=torch.cat([each["targets"] for each in shards]),
                sources_NCHW=tuple(map(torch.cat, zip(*(each["sources"] for each in shards), strict=True))),
                tokens_NKL=torch.cat([each["tokens"] for each in shards]),
                subjects_NHW=torch.cat([each["subjects"] for each in shards]),
                places_N=torch.cat([each["places"] for each in shards]),
            )
        )
    if not datasets:
        raise FileNotFoundError(f"{_locate_folder(run, plan)} is empty. Run the stage encode first.")
    return datasets


@torch.no_grad()
def encode_examples(
    run: TrainingRun,
    vae: AutoencoderKLFlux2,
    kind: ExampleKind,
    examples: Sequence[Example],
    *,
    painted: Sequence[torch.Tensor] | None = None,
) -> EncodedDataset:
    """Encode the examples' pictures as latents and their texts as tokens. Paint the pictures if needed."""
    texts = [
        text for example in examples for text in (example.texts * CAPTIONS_PER_PICTURE)[:CAPTIONS_PER_PICTURE]
    ]
    if painted is None:
        painted = [_paint_bytes(run, shown, size) for shown, size in list_pictures(kind, examples)]
    targets_NCHW, *sources = (_encode_bytes(run, vae, bytes_NCHW) for bytes_NCHW in painted)
    return EncodedDataset(
        kind=kind,
        targets_NCHW=targets_NCHW,
        sources_NCHW=tuple(sources),
        tokens_NKL=tokenize(texts, run.sizes).view(len(examples), CAPTIONS_PER_PICTURE, -1).short(),
        subjects_NHW=mask_subjects([example.target for example in examples], kind.size, run),
        places_N=torch.tensor([PLACES.index(example.target.place) for example in examples]),
    )


def mask_subjects(shown: Sequence[Scene], size: tuple[int, int], run: TrainingRun) -> torch.Tensor:
    """Mark the tokens that show the subject, of shape (N, H, W).

    A token shows the subject if its pixels change when the subject is left out.
    """
    width, height = (side // run.sizes.patch_pixels * MASK_PIXELS_PER_TOKEN for side in size)
    without = [replace(scene, subject="none") for scene in shown]
    with_BCHW, without_BCHW = (
        paint(each, width=width, height=height, device=run.device) for each in (shown, without)
    )
    changes_B1HW = (with_BCHW - without_BCHW).abs().amax(1, keepdim=True)
    return (functional.max_pool2d(changes_B1HW, MASK_PIXELS_PER_TOKEN) > MIN_PIXEL_CHANGE).squeeze(1).cpu()


def encode_scaled(vae: AutoencoderKLFlux2, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Encode pictures, from -1 to 1, as the scaled latents that the pipeline gives to the transformer."""
    latents_BCHW: torch.Tensor = Flux2KleinPipeline._patchify_latents(
        pca_autoencoder.encode(vae, pixels_BCHW)
    )
    mean_C, deviation_C = read_scale(vae)
    return (latents_BCHW.float() - mean_C) / deviation_C


def decode_scaled(vae: AutoencoderKLFlux2, latents_BCHW: torch.Tensor) -> torch.Tensor:
    """Decode a transformer's latents as the pipeline does. The pictures are from 0 to 1."""
    mean_C, deviation_C = read_scale(vae)
    unpacked = Flux2KleinPipeline._unpatchify_latents(latents_BCHW * deviation_C + mean_C)
    pictures_BCHW: torch.Tensor = vae.decode(unpacked).sample
    return (pictures_BCHW.float() / 2 + 0.5).clamp(0, 1)


def read_scale(vae: AutoencoderKLFlux2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the deviation of the latents."""
    deviation_C = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
    return vae.bn.running_mean.view(1, -1, 1, 1), deviation_C.view(1, -1, 1, 1)


def list_pictures(
    kind: ExampleKind, examples: Sequence[Example]
) -> list[tuple[list[Scene], tuple[int, int]]]:
    """List the scenes to paint, with their sizes: the targets first, then each source."""
    sources = [([example.sources[at] for example in examples], size) for at, size in enumerate(kind.sources)]
    return [([example.target for example in examples], kind.size), *sources]


def _paint_bytes(run: TrainingRun, shown: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    width, height = size
    batch_size = run.choose_batch_size(width, height)
    parts = []
    for start in range(0, len(shown), batch_size):
        pixels = paint(shown[start : start + batch_size], width=width, height=height, device=run.device)
        parts.append((pixels * 255).round().byte().cpu())
    return torch.cat(parts)


def _encode_bytes(run: TrainingRun, vae: AutoencoderKLFlux2, bytes_NCHW: torch.Tensor) -> torch.Tensor:
    parts = []
    for bytes_BCHW in bytes_NCHW.split(run.choose_batch_size(*bytes_NCHW.shape[2:])):
        pixels = bytes_BCHW.to(run.device).float() / 127.5 - 1
        latents_BCHW = encode_scaled(vae, pixels.contiguous(memory_format=torch.channels_last))
        parts.append(latents_BCHW.half().cpu())
    return torch.cat(parts)


def _plan_shards(plan: str, count: int, first_seed: int) -> Iterator[Shard]:
    """Yield the shards of all kinds in turn, so that an unfinished dataset has examples of each kind."""
    kinds = PLANS[plan]
    wanted = [max(1, round(count * kind.share)) for kind in kinds]
    shards = [
        (
            min(start + SHARD_SIZE, count_of_kind) / count_of_kind,
            number,
            start,
            min(start + SHARD_SIZE, count_of_kind),
        )
        for number, count_of_kind in enumerate(wanted)
        for start in range(0, count_of_kind, SHARD_SIZE)
    ]
    for _, number, start, end in sorted(shards):
        seed = first_seed + number * 1_000_000
        yield Shard(kind=kinds[number], seeds=range(seed + start, seed + end))


def _locate_folder(run: TrainingRun, plan: str) -> Path:
    """Return the folder of the latents. Its name has a hash of the encoder's weights, which the latents depend on."""
    weights = torch.load(locate_checkpoint(run), map_location="cpu", weights_only=True)["networks"][0]
    encoder_bytes = (
        weights["bn.running_mean"].numpy().tobytes() + weights["encoder.conv_in.weight"].numpy().tobytes()
    )
    return run.folder / "pool" / f"{plan}-{hashlib.sha256(encoder_bytes).hexdigest()[:8]}"
