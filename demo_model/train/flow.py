"""Stage `transformer`: rectified flow from text and noise to latents (Liu et al., ICLR 2023).

Tensors: B examples, C channels, H rows and W columns of tokens, L tokens of text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch

from demo_model.config import PROMPT_TOKENS
from demo_model.networks import tokenize
from demo_model.train.dataset import EncodedDataset, load_datasets
from demo_model.train.run import TrainingRun
from demo_model.train.sampling import FlowModel
from demo_model.train.text import load as load_caption_classifier
from demo_model.train.trainer import Budget, Trainer, copy_averaged, make_generator
from demo_model.train.validation import Validator

LEARNING_RATE: Final = 2e-3
# Guidance needs the velocity of the empty prompt, so this share of the prompts is dropped.
PROMPT_DROP_CHANCE: Final = 0.1


class Batch(NamedTuple):
    """Examples of one kind."""

    tokens_BL: torch.Tensor
    latents_BCHW: torch.Tensor
    sources: tuple[torch.Tensor, ...]
    subjects_BHW: torch.Tensor
    places_B: torch.Tensor


@dataclass(kw_only=True)
class BatchSampler:
    """Sampler of batches of about `token_count` tokens.

    It draws each kind as often as the kind has examples.
    """

    datasets: Sequence[EncodedDataset]
    token_count: int
    empty_prompt_L: torch.Tensor

    def draw(self, step: int, *, drop_chance: float) -> Batch:
        """Draw the examples of a step, all of one kind. Some of them lose their prompt, by `drop_chance`."""
        generator = make_generator(step, torch.device("cpu"), salt=2)
        counts = torch.tensor([float(len(dataset.tokens_NKL)) for dataset in self.datasets])
        dataset = self.datasets[int(torch.multinomial(counts, 1, generator=generator))]
        device = dataset.targets_NCHW.device
        chosen_B = torch.randint(
            len(dataset.tokens_NKL), (self._compute_batch_size(dataset),), generator=generator
        )
        wording_B = torch.randint(dataset.tokens_NKL.shape[1], chosen_B.shape, generator=generator)
        is_dropped_B = torch.rand(chosen_B.shape, generator=generator) < drop_chance
        chosen_B, wording_B, is_dropped_B = (each.to(device) for each in (chosen_B, wording_B, is_dropped_B))
        return Batch(
            torch.where(is_dropped_B[:, None], self.empty_prompt_L, dataset.tokens_NKL[chosen_B, wording_B]),
            dataset.targets_NCHW[chosen_B].float(),
            tuple(each[chosen_B].float() for each in dataset.sources_NCHW),
            dataset.subjects_NHW[chosen_B],
            dataset.places_N[chosen_B],
        )

    @property
    def count(self) -> int:
        """The number of examples."""
        return sum(len(dataset.tokens_NKL) for dataset in self.datasets)

    def reload(self, run: TrainingRun, *, plan: str) -> None:
        """Load the dataset again. It may have grown, if the stage `encode` still runs."""
        self.datasets = [dataset.to(run.device) for dataset in load_datasets(run, plan=plan)]

    def _compute_batch_size(self, dataset: EncodedDataset) -> int:
        tensors = (dataset.targets_NCHW, *dataset.sources_NCHW)
        tokens = PROMPT_TOKENS + sum(each.shape[2] * each.shape[3] for each in tensors)
        return max(1, self.token_count // tokens)


def train(
    run: TrainingRun,
    budget: Budget,
    *,
    plan: str,
    token_count: int,
    learning_rate: float = LEARNING_RATE,
    subject_weight: float = 1.0,
) -> None:
    """Train on the dataset. The progress lines have the report of `Validator`."""
    flow, trainer = load(run, learning_rate=learning_rate)
    batch_sampler = make_batch_sampler(run, plan=plan, token_count=token_count)
    validator = Validator(run, size=batch_sampler.datasets[0].kind.size)
    run.compile_networks(*flow.blocks, has_many_shapes=True)

    def compute_loss(step: int) -> torch.Tensor:
        generator = make_generator(step, run.device, salt=3)
        batch = batch_sampler.draw(step, drop_chance=PROMPT_DROP_CHANCE)
        noise_BCHW = torch.randn(batch.latents_BCHW.shape, generator=generator, device=run.device)
        with run.autocast():
            return compute_flow_loss(
                flow, batch, noise_BCHW, draw_sigmas(batch, generator), subject_weight=subject_weight
            )

    def report() -> str:
        batch_sampler.reload(run, plan=plan)
        # The report runs too rarely to be worth compiling.
        with trainer.use_average(), torch.compiler.set_stance("force_eager"):
            return f"examples {batch_sampler.count} {validator.report(flow)}"

    trainer.train(compute_loss, budget, report=report, name="transformer")


def compute_flow_loss(
    flow: FlowModel,
    batch: Batch,
    noise_BCHW: torch.Tensor,
    sigma_B: torch.Tensor,
    *,
    subject_weight: float = 1.0,
) -> torch.Tensor:
    """Compute the error of the velocity on the straight line between picture and noise."""
    sigma_B111 = sigma_B[:, None, None, None]
    noisy_BCHW = (1 - sigma_B111) * batch.latents_BCHW + sigma_B111 * noise_BCHW
    velocity_BCHW = flow.predict_velocity(batch.tokens_BL, noisy_BCHW, sigma_B, batch.sources)
    return compute_weighted_error(
        velocity_BCHW, noise_BCHW - batch.latents_BCHW, batch, subject_weight=subject_weight
    )


def compute_weighted_error(
    velocity_BCHW: torch.Tensor, wanted_BCHW: torch.Tensor, batch: Batch, *, subject_weight: float
) -> torch.Tensor:
    """Compute the mean square error. A token that shows the subject weighs `subject_weight` times as much.

    The subject has few of a picture's tokens, and people look at it first.
    """
    weights_B1HW = 1 + (subject_weight - 1) * batch.subjects_BHW[:, None].float()
    return (weights_B1HW * (velocity_BCHW - wanted_BCHW).square()).mean() / weights_B1HW.mean()


def draw_sigmas(batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Draw noise levels, mostly high ones, because they decide the content of a picture.

    The levels are higher for pictures of more tokens.
    """
    count = batch.latents_BCHW.shape[2] * batch.latents_BCHW.shape[3]
    shift = min(4.0, max(2.0, 3.0 * math.sqrt(count / 256)))
    normal_B = torch.randn(len(batch.tokens_BL), generator=generator, device=generator.device)
    part_B = torch.sigmoid(normal_B)
    return shift * part_B / (1 + (shift - 1) * part_B)


def make_batch_sampler(run: TrainingRun, *, plan: str, token_count: int) -> BatchSampler:
    """Load the dataset to the device, and return its sampler."""
    empty_prompt_L = tokenize([""], run.sizes)[0].short().to(run.device)
    datasets = [dataset.to(run.device) for dataset in load_datasets(run, plan=plan)]
    return BatchSampler(datasets=datasets, token_count=token_count, empty_prompt_L=empty_prompt_L)


def load(run: TrainingRun, *, learning_rate: float = LEARNING_RATE) -> tuple[FlowModel, Trainer]:
    """Load the flow model and its trainer."""
    caption_classifier, reading = load_caption_classifier(run)
    caption_classifier = copy_averaged(caption_classifier, reading)
    torch.manual_seed(2)
    flow = FlowModel(run, caption_classifier).to(run.device).requires_grad_(True)
    return flow, Trainer(run.folder / "transformer.pt", [flow], learning_rate=learning_rate)
