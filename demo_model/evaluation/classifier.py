"""The judge: a small network that reads time, place, weather, subject and colour off a picture."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from demo_model.painter.scene import COLOURS, PLACES, SUBJECTS, TIMES, WEATHERS, Scene, scenes
from demo_model.train import autoencoder
from demo_model.train.pca_autoencoder import encoded
from demo_model.train.run import JUDGE_SEEDS, Studio
from demo_model.train.trainer import Course, Sitting, averaged_copy, drawn_at

RATE = 1e-3
SIDE = 128
PAINTED_SIDE, KEPT_SIDE = 512, 256
WIDTHS = (24, 48, 96, 128, 160)
ASKED = {"time": TIMES, "place": PLACES, "weather": WEATHERS, "subject": SUBJECTS, "colour": COLOURS}
# No subject has no colour, and is not asked for it.
UNASKED = -100


class Judge(nn.Module):
    """Five convolutions and a head for each question."""

    def __init__(self) -> None:
        """Untrained."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, stride=2, padding=1),
                nn.SiLU(),
            ]
        self.body = nn.Sequential(*layers)
        cells = (SIDE // 2 ** len(WIDTHS)) ** 2
        self.heads = nn.ModuleDict(
            {name: nn.Linear(WIDTHS[-1] * cells, len(known)) for name, known in ASKED.items()}
        )

    def forward(self, pixels_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores for each question's answers, of pictures of any size, from 0 to 1."""
        small = functional.interpolate(pixels_BCHW, (SIDE, SIDE), mode="bilinear", antialias=True)
        seen_BD = self.body(small * 2 - 1).flatten(1)
        return {name: head(seen_BD) for name, head in self.heads.items()}

    @torch.no_grad()
    def answers(self, pixels_BCHW: torch.Tensor) -> list[dict[str, str]]:
        """What it takes each picture to show."""
        best = {name: scores.argmax(1).tolist() for name, scores in self(pixels_BCHW).items()}
        return [
            {name: ASKED[name][numbers[at]] for name, numbers in best.items()}
            for at in range(len(pixels_BCHW))
        ]


def train(studio: Studio, sitting: Sitting, *, picture_count: int, batch: int) -> None:
    """On painted pictures and on what the autoencoder makes of them, blurred and tinted a little by chance."""
    judge, course = taken_up(studio)
    shown = scenes(range(JUDGE_SEEDS, JUDGE_SEEDS + picture_count))
    painted_NCHW = autoencoder.painted(studio, first_seed=JUDGE_SEEDS, count=picture_count, side=PAINTED_SIDE)
    pictures_NCHW = torch.cat([_kept(painted_NCHW), _kept(_seen_again(studio, painted_NCHW))])
    answers = right_answers(shown * 2, studio.device)

    def loss_at(step: int) -> torch.Tensor:
        drawn = drawn_at(step, torch.device("cpu"), salt=4)
        chosen_B = torch.randint(len(pictures_NCHW), (batch,), generator=drawn).to(studio.device)
        pixels_BCHW = _varied(pictures_NCHW[chosen_B].float() / 255, step)
        with studio.reckoning():
            scores = judge(pixels_BCHW)
            losses = [functional.cross_entropy(scores[name], answers[name][chosen_B]) for name in ASKED]
        return torch.stack(losses).sum()

    course.run(loss_at, sitting, name="judge")


def taken_up(studio: Studio) -> tuple[Judge, Course]:
    """The judge as it stands, with its course."""
    torch.manual_seed(3)
    judge = Judge().to(studio.device)
    return judge, Course(studio.folder / "judge.pt", [judge], rate=RATE)


def finished(studio: Studio) -> Judge | None:
    """The trained judge, if there is one."""
    if not (studio.folder / "judge.pt").is_file():
        return None
    judge, course = taken_up(studio)
    trained: Judge = averaged_copy(judge, course)
    return trained


def right_answers(shown: Sequence[Scene], device: torch.device) -> dict[str, torch.Tensor]:
    """What a judge should say of these scenes."""
    answers = {
        name: torch.tensor([known.index(getattr(scene, name)) for scene in shown])
        for name, known in ASKED.items()
    }
    has_none = torch.tensor([scene.subject == "none" for scene in shown])
    answers["colour"] = answers["colour"].masked_fill(has_none, UNASKED)
    return {name: answer.to(device) for name, answer in answers.items()}


@torch.no_grad()
def _seen_again(studio: Studio, painted_NCHW: torch.Tensor) -> torch.Tensor:
    """The same pictures through the autoencoder; without one, simply again."""
    try:
        vae = autoencoder.finished(studio)
    except FileNotFoundError:
        return painted_NCHW
    parts = []
    for bytes_BCHW in painted_NCHW.split(autoencoder.ENCODED_AT_ONCE):
        latents_BCHW = encoded(vae, bytes_BCHW.float() / 127.5 - 1)
        with studio.reckoning():
            pixels = vae.decode(latents_BCHW).sample.float() / 2 + 0.5
        parts.append((pixels.clamp(0, 1) * 255).round().byte())
    return torch.cat(parts)


def _kept(bytes_NCHW: torch.Tensor) -> torch.Tensor:
    """The same in fewer pixels, which are still more than the judge looks at."""
    return torch.cat(
        [
            functional.adaptive_avg_pool2d(part.float(), KEPT_SIDE).round().byte()
            for part in bytes_NCHW.split(autoencoder.ENCODED_AT_ONCE)
        ]
    )


def _varied(pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """Half of the time through fewer pixels; always a little noise and another exposure."""
    device = pixels_BCHW.device
    drawn = drawn_at(step, device, salt=5)
    if step % 2:
        small = functional.avg_pool2d(pixels_BCHW, 2)
        pixels_BCHW = functional.interpolate(small, pixels_BCHW.shape[2:], mode="bilinear")
    exposure_B111 = 1 + 0.1 * torch.randn(len(pixels_BCHW), 1, 1, 1, generator=drawn, device=device)
    noise_BCHW = 0.03 * torch.randn(pixels_BCHW.shape, generator=drawn, device=device)
    return (pixels_BCHW * exposure_B111 + noise_BCHW).clamp(0, 1)
