"""Stage `text`: the text encoder learns the meaning of captions, before the transformer needs them."""

from collections.abc import Sequence
from random import Random
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from demo_model.captions import write_caption
from demo_model.config import TEXT_LAYERS
from demo_model.edit_pairs import make_edit
from demo_model.networks import build_text_encoder, tokenize
from demo_model.painter.scene import ATTRIBUTES, Scene, draw_scenes
from demo_model.train.run import DATASET_FIRST_SEED, TrainingRun
from demo_model.train.trainer import Budget, Trainer

LEARNING_RATE: Final = 1e-3
BATCH_SIZE: Final = 64
EDIT_SHARE: Final = 0.2
# The loss ignores attributes that a caption does not state.
IGNORED_CLASS: Final = -100


class CaptionClassifier(nn.Module):
    """A text encoder with a head for each attribute. The heads serve this stage only."""

    def __init__(self, run: TrainingRun) -> None:
        """Build an untrained classifier."""
        super().__init__()
        self.encoder = build_text_encoder(run.sizes)
        width = TEXT_LAYERS * run.sizes.text_width
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def compute_loss(self, tokens_BL: torch.Tensor, answers: dict[str, torch.Tensor]) -> torch.Tensor:
        """Compute the error of the attributes, classified from the mean embedding of all tokens."""
        read_BD = embed_tokens(self.encoder, tokens_BL).mean(1)
        missed = [
            functional.cross_entropy(self.heads[name](read_BD), answers[name], reduction="sum")
            / (answers[name] != IGNORED_CLASS).sum().clamp_min(1)
            for name in ATTRIBUTES
        ]
        return torch.stack(missed).sum()

    @torch.no_grad()
    def measure_accuracy(self, tokens_BL: torch.Tensor, answers: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the share of stated attributes that are classified rightly."""
        read_BD = embed_tokens(self.encoder, tokens_BL).mean(1)
        shares = {}
        for name, answer_B in answers.items():
            is_stated_B = answer_B != IGNORED_CLASS
            shares[name] = float(
                (self.heads[name](read_BD).argmax(1) == answer_B)[is_stated_B].float().mean()
            )
        return shares


def train(run: TrainingRun, budget: Budget) -> None:
    """Train on new captions at each step."""
    classifier, trainer = load(run)
    held_tokens, held_answers = make_labelled_texts(run, range(512))

    def compute_loss(step: int) -> torch.Tensor:
        first = DATASET_FIRST_SEED + step * BATCH_SIZE
        tokens_BL, answers = make_labelled_texts(run, range(first, first + BATCH_SIZE))
        with run.autocast():
            return classifier.compute_loss(tokens_BL, answers)

    def report() -> str:
        return " ".join(
            f"{name} {share:.1%}"
            for name, share in classifier.measure_accuracy(held_tokens, held_answers).items()
        )

    trainer.train(compute_loss, budget, report=report, name="text")


def load(run: TrainingRun) -> tuple[CaptionClassifier, Trainer]:
    """Load the caption classifier and its trainer."""
    torch.manual_seed(1)
    classifier = CaptionClassifier(run).to(run.device)
    return classifier, Trainer(run.folder / "text.pt", [classifier], learning_rate=LEARNING_RATE)


def embed_tokens(encoder: Qwen3ForCausalLM, tokens_BL: torch.Tensor) -> torch.Tensor:
    """Embed a prompt's tokens as the pipeline does, of shape (B, L, layers * width)."""
    read = encoder.model(
        input_ids=tokens_BL,
        attention_mask=(tokens_BL != encoder.config.pad_token_id).long(),
        output_hidden_states=True,
        use_cache=False,
    )
    layers_BKLD = torch.stack([read.hidden_states[at] for at in range(1, TEXT_LAYERS + 1)], dim=1)
    return layers_BKLD.permute(0, 2, 1, 3).flatten(2)


def make_labelled_texts(
    run: TrainingRun, seeds: Sequence[int]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Write a caption or an instruction for each seed. Returns tokens, and the stated attributes as classes."""
    texts, labelled = [], []
    for scene in draw_scenes(seeds):
        if Random(scene.seed).random() < EDIT_SHARE:  # noqa: S311 - which of them are edits is no secret
            change = make_edit(scene, seed=scene.seed)
            texts.append(change.instruction)
            labelled.append((change.target, _list_changes(scene, change.target)))
        else:
            written = write_caption(scene, seed=scene.seed)
            texts.append(written.text)
            labelled.append((scene, written.attributes))
    answers = {
        name: torch.tensor(
            [
                values.index(getattr(scene, name)) if name in attributes else IGNORED_CLASS
                for scene, attributes in labelled
            ],
            device=run.device,
        )
        for name, values in ATTRIBUTES.items()
    }
    return tokenize(texts, run.sizes).to(run.device), answers


def _list_changes(scene: Scene, target: Scene) -> frozenset[str]:
    changed = {
        name
        for name in ("time", "place", "weather", "subject")
        if getattr(scene, name) != getattr(target, name)
    }
    return frozenset(changed)
