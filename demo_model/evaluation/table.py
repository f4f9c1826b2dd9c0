"""Tables of classified pictures: the model's pictures of held-out prompts, beside the painter's own pictures."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from demo_model.captions import Caption, write_caption
from demo_model.inference import InferencePipeline
from demo_model.painter import paint
from demo_model.painter.scene import ATTRIBUTES, SUBJECTS, Scene, draw_scenes
from demo_model.train import autoencoder, classifier
from demo_model.train.dataset import decode_scaled, encode_scaled
from demo_model.train.run import HELD_OUT_FIRST_SEED, TrainingRun

COLUMNS: Final = tuple(ATTRIBUTES)
# A model that is worth showing reaches these shares, in per cent.
TARGETS: Final = {"time": 85, "place": 85, "weather": 75, "subject": 60}
BATCH_SIZE: Final = 8

Pictures = Callable[[Sequence[Scene]], torch.Tensor]
PromptedScene = tuple[Scene, Caption]


def build_tables(run: TrainingRun, *, weights: Path, count: int, size: tuple[int, int]) -> str:
    """Return Markdown tables of the attributes recognised, in per cent, and of the subjects recognised.

    Raises FileNotFoundError if the classifier or the autoencoder is not trained.
    """
    trained = classifier.load_trained(run)
    if trained is None:
        raise FileNotFoundError(f"{run.folder / 'classifier.pt'} is missing. Run the stage classifier first.")
    shown = draw_scenes(range(HELD_OUT_FIRST_SEED, HELD_OUT_FIRST_SEED + count))
    # The offset gives the first scenes other wordings than the validation's.
    prompts = [write_caption(scene, seed=scene.seed + 7_000, complete=True) for scene in shown]
    prompted = list(zip(shown, prompts, strict=True))
    painted = _classify(trained, shown, lambda part: _paint(run, part, size))
    reconstructed = _classify(trained, shown, lambda part: _reconstruct(run, part, size))
    pipeline = InferencePipeline(weights, run.device)
    made = _classify(trained, shown, _generate_with(pipeline, prompted, size, run.device))
    rows = [
        ("painter", painted, prompted),
        ("painter, reconstructed by the autoencoder", reconstructed, prompted),
        ("**model**", made, prompted),
        ("model, compared with another prompt", made, [*prompted[1:], prompted[0]]),
    ]
    head = f"| {count} held-out prompts, {size[0]} by {size[1]} pixels | " + " | ".join(COLUMNS) + " |"
    target = [f"{TARGETS[name]} %" if name in TARGETS else "" for name in COLUMNS]
    lines = [head, "| --- |" + " ---: |" * len(COLUMNS)]
    lines += [_format_row(name, compute_shares(answers, right)) for name, answers, right in rows]
    lines.append("| target | " + " | ".join(target) + " |")
    return "\n".join([*lines, "", *_build_subject_rows(rows[:3])])


def compute_shares(answers: Sequence[dict[str, str]], right: Sequence[PromptedScene]) -> list[float]:
    """Return, for each column, the share of right answers among the prompts that state the attribute."""
    shares = []
    for name in COLUMNS:
        is_seen = [
            answer[name] == getattr(scene, name)
            for answer, (scene, prompt) in zip(answers, right, strict=True)
            if name in prompt.attributes
        ]
        shares.append(sum(is_seen) / len(is_seen) if is_seen else math.nan)
    return shares


def _build_subject_rows(
    rows: Sequence[tuple[str, Sequence[dict[str, str]], Sequence[PromptedScene]]],
) -> Iterator[str]:
    """Yield the rows of the table that counts right answers by subject."""
    yield "| right answers by subject | " + " | ".join(SUBJECTS) + " |"
    yield "| --- |" + " ---: |" * len(SUBJECTS)
    for name, answers, right in rows:
        prompted = Counter(scene.subject for scene, _ in right)
        seen = Counter(
            scene.subject
            for answer, (scene, _) in zip(answers, right, strict=True)
            if answer["subject"] == scene.subject
        )
        cells = (f"{seen[subject]} of {prompted[subject]}" for subject in SUBJECTS)
        yield f"| {name} | " + " | ".join(cells) + " |"


def _classify(
    trained: classifier.Classifier, shown: Sequence[Scene], pictures: Pictures
) -> list[dict[str, str]]:
    answers = []
    for start in range(0, len(shown), BATCH_SIZE):
        answers += trained.classify(pictures(shown[start : start + BATCH_SIZE]))
    return answers


def _paint(run: TrainingRun, part: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    return paint(part, width=size[0], height=size[1], device=run.device)


@torch.no_grad()
def _reconstruct(run: TrainingRun, part: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    vae = autoencoder.load_trained(run)
    return decode_scaled(vae, encode_scaled(vae, _paint(run, part, size) * 2 - 1))


def _generate_with(
    pipeline: InferencePipeline,
    prompted: Sequence[PromptedScene],
    size: tuple[int, int],
    device: torch.device,
) -> Pictures:
    number = {scene.seed: at for at, (scene, _) in enumerate(prompted)}

    def pictures(part: Sequence[Scene]) -> torch.Tensor:
        prompts = [prompted[number[scene.seed]][1].text for scene in part]
        made = pipeline.generate(prompts, size=size, first_seed=number[part[0].seed])
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in made])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device) / 255

    return pictures


def _format_row(name: str, shares: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join(f"{share:.1%}".replace("%", " %") for share in shares) + " |"
