"""The stage `distil`: a few steps without guidance lead where many with guidance did.

The trained flow, guided, walks from noise to pictures in small steps. Then it learns to go as far in one step of the
worker's as it went in some of those (progressive distillation, Salimans and Ho, ICLR 2022; of guidance, Meng et al.,
CVPR 2023). So a worker, which asks once a step and without guidance, gets pictures that follow the prompt.
"""

import copy
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch

from demo_model.config import STEPS
from demo_model.train.flow import Batch, Drawer, Flow, drawer_of, levels, walked, weighted_error
from demo_model.train.flow import taken_up as flow_taken_up
from demo_model.train.run import Studio
from demo_model.train.trainer import Course, Say, Sitting, averaged_copy, drawn_at
from demo_model.train.validation import Gate

RATE = 8e-4
GUIDANCE = 3.5
SMALL_STEPS = 2


class Walk(NamedTuple):
    """Orders, and the latents at each of the worker's noise levels on the teacher's way: noise first, pictures last."""

    batch: Batch
    latents: tuple[torch.Tensor, ...]


def train(
    studio: Studio,
    sitting: Sitting,
    *,
    plan: str,
    token_count: int,
    walk_count: int,
    guidance: float = GUIDANCE,
    subject_weight: float = 1.0,
) -> None:
    """Walks, and then learns from that for as long as the sitting is to last; the learning rate falls to zero."""
    teacher = averaged_copy(*flow_taken_up(studio))
    flow = copy.deepcopy(teacher).requires_grad_(True)
    course = Course(studio.folder / "distil.pt", [flow], rate=RATE)
    drawer = drawer_of(studio, plan=plan, token_count=token_count)
    gate = Gate(studio, size=drawer.lots[0].kind.size)
    walks = walks_of(studio, teacher, drawer, count=walk_count, guidance=guidance, say=sitting.say)

    def loss_at(step: int) -> torch.Tensor:
        drawn = drawn_at(step, torch.device("cpu"), salt=7)
        number, at = (int(torch.randint(most, (), generator=drawn)) for most in (len(walks), STEPS))
        with studio.reckoning():
            return step_loss(flow, walks[number], at, subject_weight=subject_weight)

    def report() -> str:
        with course.averaged():
            return gate.report(flow)

    course.run(loss_at, sitting, report=report, name="distil")


def walks_of(
    studio: Studio, teacher: Flow, drawer: Drawer, *, count: int, guidance: float, say: Say
) -> Sequence[Walk]:
    """What the teacher passes on its way from noise to pictures of some orders."""
    walks = []
    for number in range(count):
        asked = drawer.batch(number + 1_000_000, dropped=0.0)
        drawn = drawn_at(number, studio.device, salt=6)
        noise_BCHW = torch.randn(asked.latents_BCHW.shape, generator=drawn, device=studio.device)
        with studio.reckoning():
            passed = walked(
                teacher,
                asked.tokens_BL,
                noise_BCHW,
                asked.sources,
                steps=STEPS * SMALL_STEPS,
                guidance=guidance,
                nothing_L=drawer.nothing_L,
            )
            walks.append(Walk(asked, tuple(islice(passed, 0, None, SMALL_STEPS))))
    say(f"distil: {count} walks with guidance {guidance}")
    return walks


def step_loss(flow: Flow, walk: Walk, at: int, *, subject_weight: float = 1.0) -> torch.Tensor:
    """How far one step of the worker's, the `at`th, leads from where the teacher came to."""
    level, following = levels(STEPS)[at : at + 2]
    here_BCHW, there_BCHW = walk.latents[at : at + 2]
    sigma_B = torch.full((len(here_BCHW),), level, device=here_BCHW.device)
    velocity_BCHW = flow.velocity(walk.batch.tokens_BL, here_BCHW, sigma_B, walk.batch.sources)
    wanted_BCHW = (there_BCHW - here_BCHW) / (following - level)
    return weighted_error(velocity_BCHW, wanted_BCHW, walk.batch, subject_weight=subject_weight)


def taken_up(studio: Studio) -> Flow:
    """The flow that is to be served: the distilled one if there is one, else the trained one. Raises
    FileNotFoundError.
    """
    flow, trained = flow_taken_up(studio)
    path = studio.folder / "distil.pt"
    if path.is_file():
        return averaged_copy(flow, Course(path, [flow], rate=RATE))
    if not trained.path.is_file():
        raise FileNotFoundError(f"{trained.path}: train the stage transformer first")
    return averaged_copy(flow, trained)
