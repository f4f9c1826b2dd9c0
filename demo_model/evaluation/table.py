"""What the judge sees of held-out prompts in the model's pictures, beside what it sees in pictures that are right."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from demo_model.captions import Caption, caption
from demo_model.evaluation import classifier
from demo_model.inference import Brush
from demo_model.painter import paint
from demo_model.painter.scene import SUBJECTS, Scene, scenes
from demo_model.train import autoencoder
from demo_model.train.dataset import scaled_latents, unscaled_pictures
from demo_model.train.run import HELD_OUT_SEEDS, Studio

COLUMNS = ("time", "place", "weather", "subject", "colour")
# What a model must reach to be worth showing, in per cent.
TARGETS = {"time": 85, "place": 85, "weather": 75, "subject": 60}
AT_ONCE = 8

Pictures = Callable[[Sequence[Scene]], torch.Tensor]
Asked = tuple[Scene, Caption]


def table(studio: Studio, *, weights: Path, count: int, size: tuple[int, int]) -> str:
    """Markdown tables of percentages: what was asked for, and which subject was. Raises FileNotFoundError without a
    trained judge or autoencoder.
    """
    judge = classifier.finished(studio)
    if judge is None:
        raise FileNotFoundError(f"{studio.folder / 'judge.pt'}: train the judge first")
    shown = scenes(range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + count))
    # The first scenes' prompts are drawn by other dice than the gate's.
    prompts = [caption(scene, seed=scene.seed + 7_000, whole=True) for scene in shown]
    asked = list(zip(shown, prompts, strict=True))
    painted = _answers(judge, shown, lambda part: _painted(studio, part, size))
    seen_again = _answers(judge, shown, lambda part: _seen_again(studio, part, size))
    brush = Brush(weights, studio.device)
    made = _answers(judge, shown, _made_by(brush, asked, size, studio.device))
    rows = [
        ("painter", painted, asked),
        ("painter, through the autoencoder", seen_again, asked),
        ("**model**", made, asked),
        ("model, against another prompt", made, [*asked[1:], asked[0]]),
    ]
    head = f"| {count} held-out prompts, {size[0]} by {size[1]} pixels | " + " | ".join(COLUMNS) + " |"
    target = [f"{TARGETS[name]} %" if name in TARGETS else "" for name in COLUMNS]
    lines = [head, "| --- |" + " ---: |" * len(COLUMNS)]
    lines += [_row(name, shares_of(answers, right)) for name, answers, right in rows]
    lines.append("| to reach | " + " | ".join(target) + " |")
    return "\n".join([*lines, "", *_by_subject(rows[:3])])


def shares_of(answers: Sequence[dict[str, str]], right: Sequence[Asked]) -> list[float]:
    """How often the judge saw what was asked for, for each column, of the prompts that say it."""
    shares = []
    for name in COLUMNS:
        is_seen = [
            answer[name] == getattr(scene, name)
            for answer, (scene, prompt) in zip(answers, right, strict=True)
            if name in prompt.said
        ]
        shares.append(sum(is_seen) / len(is_seen) if is_seen else math.nan)
    return shares


def _by_subject(rows: Sequence[tuple[str, Sequence[dict[str, str]], Sequence[Asked]]]) -> Iterator[str]:
    """How often each subject was seen, of those that were to show it."""
    yield "| of those with this subject | " + " | ".join(SUBJECTS) + " |"
    yield "| --- |" + " ---: |" * len(SUBJECTS)
    for name, answers, right in rows:
        asked = Counter(scene.subject for scene, _ in right)
        seen = Counter(
            scene.subject
            for answer, (scene, _) in zip(answers, right, strict=True)
            if answer["subject"] == scene.subject
        )
        cells = (f"{seen[subject]} of {asked[subject]}" for subject in SUBJECTS)
        yield f"| {name} | " + " | ".join(cells) + " |"


def _answers(judge: classifier.Judge, shown: Sequence[Scene], pictures: Pictures) -> list[dict[str, str]]:
    answers = []
    for start in range(0, len(shown), AT_ONCE):
        answers += judge.answers(pictures(shown[start : start + AT_ONCE]))
    return answers


def _painted(studio: Studio, part: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    return paint(part, width=size[0], height=size[1], device=studio.device)


@torch.no_grad()
def _seen_again(studio: Studio, part: Sequence[Scene], size: tuple[int, int]) -> torch.Tensor:
    vae = autoencoder.finished(studio)
    return unscaled_pictures(vae, scaled_latents(vae, _painted(studio, part, size) * 2 - 1))


def _made_by(brush: Brush, asked: Sequence[Asked], size: tuple[int, int], device: torch.device) -> Pictures:
    number = {scene.seed: at for at, (scene, _) in enumerate(asked)}

    def pictures(part: Sequence[Scene]) -> torch.Tensor:
        prompts = [asked[number[scene.seed]][1].text for scene in part]
        made = brush.paint(prompts, size=size, first_seed=number[part[0].seed])
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in made])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device) / 255

    return pictures


def _row(name: str, shares: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join(f"{share:.1%}".replace("%", " %") for share in shares) + " |"
