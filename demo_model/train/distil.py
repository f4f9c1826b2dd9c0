"""Stage `distil`: few steps without guidance learn to replace many steps with guidance.

The trained and guided flow goes from noise to pictures in small steps. The student learns to go as far in one of a
worker's steps as the teacher went in several (progressive distillation, Salimans and Ho, ICLR 2022; for guidance,
Meng et al., CVPR 2023). A worker evaluates the model once a step and without guidance, and its pictures still follow
the prompt.
"""

import copy
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

import torch

from demo_model.config import STEPS
from demo_model.train.flow import Batch, BatchSampler, compute_weighted_error, make_batch_sampler
from demo_model.train.flow import load as load_flow
from demo_model.train.run import TrainingRun
from demo_model.train.sampling import FlowModel, compute_noise_levels, sample_trajectory
from demo_model.train.trainer import Budget, PrintLine, Trainer, copy_averaged, make_generator
from demo_model.train.validation import Validator

LEARNING_RATE: Final = 8e-4
GUIDANCE: Final = 3.5
SMALL_STEPS: Final = 2


class Trajectory(NamedTuple):
    """Examples, and the teacher's latents at each of the worker's noise levels.

    The first latents are noise, and the last ones are pictures.
    """

    batch: Batch
    latents: tuple[torch.Tensor, ...]


def train(
    run: TrainingRun,
    budget: Budget,
    *,
    plan: str,
    token_count: int,
    trajectory_count: int,
    guidance: float = GUIDANCE,
    subject_weight: float = 1.0,
) -> None:
    """Sample trajectories, and learn from them until the budget is spent."""
    teacher = copy_averaged(*load_flow(run))
    flow = copy.deepcopy(teacher).requires_grad_(True)
    trainer = Trainer(run.folder / "distil.pt", [flow], learning_rate=LEARNING_RATE)
    batch_sampler = make_batch_sampler(run, plan=plan, token_count=token_count)
    validator = Validator(run, size=batch_sampler.datasets[0].kind.size)
    trajectories = sample_trajectories(
        run, teacher, batch_sampler, count=trajectory_count, guidance=guidance, print_line=budget.print_line
    )

    def compute_loss(step: int) -> torch.Tensor:
        generator = make_generator(step, torch.device("cpu"), salt=7)
        number, at = (
            int(torch.randint(count, (), generator=generator)) for count in (len(trajectories), STEPS)
        )
        with run.autocast():
            return compute_step_loss(flow, trajectories[number], at, subject_weight=subject_weight)

    def report() -> str:
        with trainer.use_average():
            return validator.report(flow)

    trainer.train(compute_loss, budget, report=report, name="distil")


def sample_trajectories(
    run: TrainingRun,
    teacher: FlowModel,
    batch_sampler: BatchSampler,
    *,
    count: int,
    guidance: float,
    print_line: PrintLine,
) -> Sequence[Trajectory]:
    """Sample the teacher's trajectories from noise to pictures of some examples."""
    trajectories = []
    for number in range(count):
        batch = batch_sampler.draw(number + 1_000_000, drop_chance=0.0)
        generator = make_generator(number, run.device, salt=6)
        noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=generator, device=run.device)
        with run.autocast():
            latents = sample_trajectory(
                teacher,
                batch.tokens_BL,
                noise_BCHW,
                batch.sources,
                steps=STEPS * SMALL_STEPS,
                guidance=guidance,
                empty_prompt_L=batch_sampler.empty_prompt_L,
            )
            trajectories.append(Trajectory(batch, tuple(islice(latents, 0, None, SMALL_STEPS))))
    print_line(f"distil {count} trajectories with guidance {guidance}")
    return trajectories


def compute_step_loss(
    flow: FlowModel, trajectory: Trajectory, at: int, *, subject_weight: float = 1.0
) -> torch.Tensor:
    """Compute the error of the worker's step number `at` against the teacher's latents after it."""
    level, following = compute_noise_levels(STEPS)[at : at + 2]
    here_BCHW, there_BCHW = trajectory.latents[at : at + 2]
    sigma_B = torch.full((len(here_BCHW),), level, device=here_BCHW.device)
    velocity_BCHW = flow.predict_velocity(
        trajectory.batch.tokens_BL, here_BCHW, sigma_B, trajectory.batch.sources
    )
    wanted_BCHW = (there_BCHW - here_BCHW) / (following - level)
    return compute_weighted_error(velocity_BCHW, wanted_BCHW, trajectory.batch, subject_weight=subject_weight)


def load_finished(run: TrainingRun) -> FlowModel:
    """Load the distilled flow if there is one, else the trained one.

    Raises FileNotFoundError if neither is trained.
    """
    flow, trained = load_flow(run)
    path = run.folder / "distil.pt"
    if path.is_file():
        return copy_averaged(flow, Trainer(path, [flow], learning_rate=LEARNING_RATE))
    if not trained.path.is_file():
        raise FileNotFoundError(f"{trained.path} is missing. Run the stage transformer first.")
    return copy_averaged(flow, trained)
