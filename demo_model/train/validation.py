"""Whether training is on its way: does the right prompt help more than a wrong one, does the judge see what was asked?

A loss that falls says neither: pictures can become smooth long before they follow the prompt.
"""

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from demo_model.captions import caption
from demo_model.config import Kind
from demo_model.evaluation import classifier
from demo_model.networks import tokens_of
from demo_model.painter.scene import scenes
from demo_model.train.autoencoder import finished
from demo_model.train.dataset import Example, encoded, unscaled_pictures
from demo_model.train.run import HELD_OUT_SEEDS, Studio

if TYPE_CHECKING:
    from demo_model.train.flow import Flow

HELD_OUT = 64
JUDGED = 32
# Where almost nothing of the picture is left, what it will show can be known from the prompt alone.
SIGMA = 0.9


class Gate:
    """Held-out scenes with their latents, prompts and noise."""

    def __init__(self, studio: Studio, *, size: tuple[int, int]) -> None:
        """Paints and encodes them."""
        self._studio = studio
        self._vae = finished(studio)
        self._scenes = scenes(range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + HELD_OUT))
        texts = [caption(scene, seed=scene.seed, whole=True).text for scene in self._scenes]
        kind = Kind(name="held-out", size=size, share=1.0)
        orders = [
            Example(target=scene, sources=(), texts=(text,))
            for scene, text in zip(self._scenes, texts, strict=True)
        ]
        self._latents_BCHW = encoded(studio, self._vae, kind, orders).targets_NCHW.float().to(studio.device)
        self._tokens_BL = tokens_of(texts, studio.sizes).to(studio.device)
        drawn = torch.Generator().manual_seed(5)
        self._noise_BCHW = torch.randn(self._latents_BCHW.shape, generator=drawn).to(studio.device)

    def report(self, flow: "Flow") -> str:
        """A line for people."""
        right, shuffled = self.losses(flow)
        line = f"right {right:.4f} shuffled {shuffled:.4f} gap {shuffled - right:+.4f}"
        # Decoder and judge may be trained beside.
        judge = classifier.finished(self._studio)
        if judge is None:
            return line
        shares = self.judged(flow, judge)
        return line + " judge " + " ".join(f"{name} {share:.0%}" for name, share in shares.items())

    @torch.no_grad()
    def losses(self, flow: "Flow") -> tuple[float, float]:
        """At a high noise level: with each picture's own prompt, and with its neighbour's."""
        sigma_B = torch.full((HELD_OUT,), SIGMA, device=self._studio.device)
        noisy_BCHW = (1 - SIGMA) * self._latents_BCHW + SIGMA * self._noise_BCHW
        wanted_BCHW = self._noise_BCHW - self._latents_BCHW
        found = []
        for tokens_BL in (self._tokens_BL, self._tokens_BL.roll(1, 0)):
            with self._studio.reckoning():
                velocity_BCHW = flow.velocity(tokens_BL, noisy_BCHW, sigma_B)
            found.append(float(functional.mse_loss(velocity_BCHW, wanted_BCHW)))
        return found[0], found[1]

    @torch.no_grad()
    def judged(self, flow: "Flow", judge: classifier.Judge) -> dict[str, float]:
        """The shares of what was asked for that the judge sees in pictures of the flow's."""
        from demo_model.train.flow import sampled  # noqa: PLC0415 - each asks the other

        with self._studio.reckoning():
            latents_BCHW = sampled(flow, self._tokens_BL[:JUDGED], self._noise_BCHW[:JUDGED])
            pictures_BCHW = unscaled_pictures(finished(self._studio), latents_BCHW)
        answers = judge.answers(pictures_BCHW)
        return {
            name: sum(
                answer[name] == getattr(scene, name)
                for answer, scene in zip(answers, self._scenes, strict=False)
            )
            / JUDGED
            for name in ("time", "place", "weather", "subject")
        }
