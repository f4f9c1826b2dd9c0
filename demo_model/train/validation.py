"""Validation on held-out scenes: the effect of the right prompt, and the classifier's answers.

A falling loss shows neither. Pictures can become smooth long before they follow the prompt.
"""

from typing import Final

import torch
from torch.nn import functional

from demo_model.captions import write_caption
from demo_model.config import ExampleKind
from demo_model.networks import tokenize
from demo_model.painter.scene import draw_scenes
from demo_model.train import classifier
from demo_model.train.autoencoder import load_trained
from demo_model.train.dataset import decode_scaled, encode_examples
from demo_model.train.examples import Example
from demo_model.train.run import HELD_OUT_FIRST_SEED, TrainingRun
from demo_model.train.sampling import FlowModel, sample_latents

HELD_OUT_COUNT: Final = 64
CLASSIFIED_COUNT: Final = 32
# At this level almost nothing of the picture is left, so its content is known from the prompt alone.
SIGMA: Final = 0.9


class Validator:
    """Held-out scenes with their latents, prompts and noise."""

    def __init__(self, run: TrainingRun, *, size: tuple[int, int]) -> None:
        """Paint and encode the scenes."""
        self._run = run
        self._vae = load_trained(run)
        self._scenes = draw_scenes(range(HELD_OUT_FIRST_SEED, HELD_OUT_FIRST_SEED + HELD_OUT_COUNT))
        texts = [write_caption(scene, seed=scene.seed, complete=True).text for scene in self._scenes]
        kind = ExampleKind(name="held-out", size=size, share=1.0)
        examples = [
            Example(target=scene, sources=(), texts=(text,))
            for scene, text in zip(self._scenes, texts, strict=True)
        ]
        self._latents_BCHW = (
            encode_examples(run, self._vae, kind, examples).targets_NCHW.float().to(run.device)
        )
        self._tokens_BL = tokenize(texts, run.sizes).to(run.device)
        generator = torch.Generator().manual_seed(5)
        self._noise_BCHW = torch.randn(self._latents_BCHW.shape, generator=generator).to(run.device)

    def report(self, flow: FlowModel) -> str:
        """Return a progress line for people."""
        right, shuffled = self.compute_losses(flow)
        line = f"right {right:.4f} shuffled {shuffled:.4f} gap {shuffled - right:+.4f}"
        # The classifier may still be in training, in another process.
        trained = classifier.load_trained(self._run)
        if trained is None:
            return line
        shares = self.measure_accuracy(flow, trained)
        return line + " classifier " + " ".join(f"{name} {share:.0%}" for name, share in shares.items())

    @torch.no_grad()
    def compute_losses(self, flow: FlowModel) -> tuple[float, float]:
        """Return the losses at a high noise level, with the right prompts and with another picture's."""
        sigma_B = torch.full((HELD_OUT_COUNT,), SIGMA, device=self._run.device)
        noisy_BCHW = (1 - SIGMA) * self._latents_BCHW + SIGMA * self._noise_BCHW
        wanted_BCHW = self._noise_BCHW - self._latents_BCHW
        losses = []
        for tokens_BL in (self._tokens_BL, self._tokens_BL.roll(1, 0)):
            with self._run.autocast():
                velocity_BCHW = flow.predict_velocity(tokens_BL, noisy_BCHW, sigma_B)
            losses.append(float(functional.mse_loss(velocity_BCHW, wanted_BCHW)))
        return losses[0], losses[1]

    @torch.no_grad()
    def measure_accuracy(self, flow: FlowModel, trained: classifier.Classifier) -> dict[str, float]:
        """Return the shares of attributes that the classifier recognises in the flow's pictures."""
        with self._run.autocast():
            latents_BCHW = sample_latents(
                flow, self._tokens_BL[:CLASSIFIED_COUNT], self._noise_BCHW[:CLASSIFIED_COUNT]
            )
            pictures_BCHW = decode_scaled(load_trained(self._run), latents_BCHW)
        answers = trained.classify(pictures_BCHW)
        return {
            name: sum(
                answer[name] == getattr(scene, name)
                for answer, scene in zip(answers, self._scenes, strict=False)
            )
            / CLASSIFIED_COUNT
            for name in ("time", "place", "weather", "subject")
        }
