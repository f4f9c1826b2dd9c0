"""Stage `classifier`: a small network that recognises time, place, weather, subject and colour in a picture."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from demo_model.painter.scene import ATTRIBUTES, Scene, draw_scenes
from demo_model.train import autoencoder
from demo_model.train.pca_autoencoder import encode
from demo_model.train.run import CLASSIFIER_FIRST_SEED, TrainingRun
from demo_model.train.trainer import Budget, Trainer, copy_averaged, make_generator

LEARNING_RATE: Final = 1e-3
SIDE: Final = 128
PAINTED_SIDE: Final = 512
STORED_SIDE: Final = 256
WIDTHS: Final = (24, 48, 96, 128, 160)
# The loss ignores the colour of scenes without a subject.
IGNORED_CLASS: Final = -100


class Classifier(nn.Module):
    """A network of five pairs of convolutions, with a head for each attribute."""

    def __init__(self) -> None:
        """Build an untrained classifier."""
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
            {name: nn.Linear(WIDTHS[-1] * cells, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, pixels_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        """Score the values of each attribute. Pictures have any size and values from 0 to 1."""
        small = functional.interpolate(pixels_BCHW, (SIDE, SIDE), mode="bilinear", antialias=True)
        features_BD = self.body(small * 2 - 1).flatten(1)
        return {name: head(features_BD) for name, head in self.heads.items()}

    @torch.no_grad()
    def classify(self, pixels_BCHW: torch.Tensor) -> list[dict[str, str]]:
        """Return the most likely value of each attribute for each picture."""
        best = {name: scores.argmax(1).tolist() for name, scores in self(pixels_BCHW).items()}
        return [
            {name: ATTRIBUTES[name][numbers[at]] for name, numbers in best.items()}
            for at in range(len(pixels_BCHW))
        ]


def train(run: TrainingRun, budget: Budget, *, picture_count: int, batch: int) -> None:
    """Train on painted pictures and on their reconstructions by the autoencoder.

    The pictures are blurred and tinted a little, at random.
    """
    classifier, trainer = load(run)
    shown = draw_scenes(range(CLASSIFIER_FIRST_SEED, CLASSIFIER_FIRST_SEED + picture_count))
    painted_NCHW = autoencoder.paint_squares(
        run, first_seed=CLASSIFIER_FIRST_SEED, count=picture_count, side=PAINTED_SIDE
    )
    pictures_NCHW = torch.cat([_downscale(painted_NCHW), _downscale(_reconstruct(run, painted_NCHW))])
    answers = label_scenes(shown * 2, run.device)

    def compute_loss(step: int) -> torch.Tensor:
        generator = make_generator(step, torch.device("cpu"), salt=4)
        chosen_B = torch.randint(len(pictures_NCHW), (batch,), generator=generator).to(run.device)
        pixels_BCHW = _augment(pictures_NCHW[chosen_B].float() / 255, step)
        with run.autocast():
            scores = classifier(pixels_BCHW)
            losses = [functional.cross_entropy(scores[name], answers[name][chosen_B]) for name in ATTRIBUTES]
        return torch.stack(losses).sum()

    trainer.train(compute_loss, budget, name="classifier")


def load(run: TrainingRun) -> tuple[Classifier, Trainer]:
    """Load the classifier and its trainer."""
    torch.manual_seed(3)
    classifier = Classifier().to(run.device)
    return classifier, Trainer(run.folder / "classifier.pt", [classifier], learning_rate=LEARNING_RATE)


def load_trained(run: TrainingRun) -> Classifier | None:
    """Load the classifier with averaged weights, or return None if it is not trained."""
    if not (run.folder / "classifier.pt").is_file():
        return None
    classifier, trainer = load(run)
    trained: Classifier = copy_averaged(classifier, trainer)
    return trained


def label_scenes(shown: Sequence[Scene], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the right class of each attribute of these scenes. Without a subject, the colour is ignored."""
    answers = {
        name: torch.tensor([values.index(getattr(scene, name)) for scene in shown])
        for name, values in ATTRIBUTES.items()
    }
    has_none = torch.tensor([scene.subject == "none" for scene in shown])
    answers["colour"] = answers["colour"].masked_fill(has_none, IGNORED_CLASS)
    return {name: answer.to(device) for name, answer in answers.items()}


@torch.no_grad()
def _reconstruct(run: TrainingRun, painted_NCHW: torch.Tensor) -> torch.Tensor:
    """Pass pictures through the autoencoder. Without a trained one, return them as they are."""
    try:
        vae = autoencoder.load_trained(run)
    except FileNotFoundError:
        return painted_NCHW
    parts = []
    for bytes_BCHW in painted_NCHW.split(autoencoder.ENCODING_BATCH_SIZE):
        latents_BCHW = encode(vae, bytes_BCHW.float() / 127.5 - 1)
        with run.autocast():
            pixels = vae.decode(latents_BCHW).sample.float() / 2 + 0.5
        parts.append((pixels.clamp(0, 1) * 255).round().byte())
    return torch.cat(parts)


def _downscale(bytes_NCHW: torch.Tensor) -> torch.Tensor:
    """Shrink pictures to save memory. They still have more pixels than the classifier uses."""
    return torch.cat(
        [
            functional.adaptive_avg_pool2d(part.float(), STORED_SIDE).round().byte()
            for part in bytes_NCHW.split(autoencoder.ENCODING_BATCH_SIZE)
        ]
    )


def _augment(pixels_BCHW: torch.Tensor, step: int) -> torch.Tensor:
    """Blur the pictures at every second step, and vary noise and exposure a little at each step."""
    device = pixels_BCHW.device
    generator = make_generator(step, device, salt=5)
    if step % 2:
        small = functional.avg_pool2d(pixels_BCHW, 2)
        pixels_BCHW = functional.interpolate(small, pixels_BCHW.shape[2:], mode="bilinear")
    exposure_B111 = 1 + 0.1 * torch.randn(len(pixels_BCHW), 1, 1, 1, generator=generator, device=device)
    noise_BCHW = 0.03 * torch.randn(pixels_BCHW.shape, generator=generator, device=device)
    return (pixels_BCHW * exposure_B111 + noise_BCHW).clamp(0, 1)
