"""The stage `straighten`: few steps and no guidance do what many steps with guidance did.

The trained flow, guided, paints from noise; then it learns the straight ways between each noise and its picture
(reflow, Liu et al., ICLR 2023). So a worker, which asks once a step and without guidance, gets pictures that follow
the prompt.
"""

from collections.abc import Sequence

import torch

from demo_model.train.course import Course, Say, Sitting, averaged_copy, drawn_at
from demo_model.train.flow import RATE, Batch, Drawer, Flow, drawer_of, flow_loss, sampled
from demo_model.train.flow import taken_up as flow_taken_up
from demo_model.train.gate import Gate
from demo_model.train.studio import Studio

GUIDANCE = 2.0
TEACHER_STEPS = 16


def train(
    studio: Studio,
    sitting: Sitting,
    *,
    plan: str,
    token_count: int,
    pair_batches: int,
    guidance: float = GUIDANCE,
) -> None:
    """Paints pairs, and learns from them; the learning rate falls to zero on the way."""
    flow, trained = flow_taken_up(studio)
    flow = averaged_copy(flow, trained).requires_grad_(True)
    course = Course(studio.folder / "straighten.pt", [flow], rate=RATE / 3)
    drawer = drawer_of(studio, plan=plan, token_count=token_count)
    gate = Gate(studio, size=drawer.lots[0].kind.size)
    teacher = averaged_copy(*flow_taken_up(studio))
    pairs = painted_pairs(studio, teacher, drawer, count=pair_batches, guidance=guidance, say=sitting.say)

    def loss_at(step: int) -> torch.Tensor:
        batch, noise_BCHW = pairs[step % len(pairs)]
        drawn = drawn_at(step, studio.device, salt=7)
        sigma_B = torch.rand(len(batch.tokens_BL), generator=drawn, device=studio.device)
        # The first step is taken from noise alone, and everything hangs on it.
        sigma_B = torch.where(sigma_B < 0.2, torch.ones_like(sigma_B), sigma_B)
        with studio.reckoning():
            return flow_loss(flow, batch, noise_BCHW, sigma_B)

    def report() -> str:
        with course.averaged():
            return gate.report(flow)

    course.run(loss_at, sitting, report=report, name="straighten")


def painted_pairs(
    studio: Studio, teacher: Flow, drawer: Drawer, *, count: int, guidance: float, say: Say
) -> Sequence[tuple[Batch, torch.Tensor]]:
    """Batches whose latents are the teacher's own, each with the noise that they were painted from."""
    pairs = []
    for number in range(count):
        asked = drawer.batch(number + 1_000_000, dropped=0.0)
        drawn = drawn_at(number, studio.device, salt=6)
        noise_BCHW = torch.randn(asked.latents_BCHW.shape, generator=drawn, device=studio.device)
        with studio.reckoning():
            latents_BCHW = sampled(
                teacher,
                asked.tokens_BL,
                noise_BCHW,
                asked.sources,
                steps=TEACHER_STEPS,
                guidance=guidance,
                nothing_L=drawer.nothing_L,
            )
        pairs.append((asked._replace(latents_BCHW=latents_BCHW), noise_BCHW))
    say(f"straighten: {count} batches painted with guidance {guidance}")
    return pairs


def taken_up(studio: Studio) -> Flow:
    """The flow that is to be served: the straightened one if there is one, else the trained one. Raises
    FileNotFoundError.
    """
    flow, trained = flow_taken_up(studio)
    path = studio.folder / "straighten.pt"
    if path.is_file():
        return averaged_copy(flow, Course(path, [flow], rate=RATE))
    if not trained.path.is_file():
        raise FileNotFoundError(f"{trained.path}: train the stage transformer first")
    return averaged_copy(flow, trained)
