"""The stage `text`: the text encoder first learns what captions tell, so that the transformer can use it at once."""

from collections.abc import Sequence
from random import Random

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from demo_model.captions import caption
from demo_model.config import TEXT_LAYERS
from demo_model.edit_pairs import edit
from demo_model.networks import text_encoder, tokens_of
from demo_model.painter.scene import COLOURS, PLACES, SUBJECTS, TIMES, WEATHERS, Scene, scenes
from demo_model.train.run import POOL_SEEDS, Studio
from demo_model.train.trainer import Course, Sitting

RATE = 1e-3
BATCH = 64
EDITS_AMONG = 0.2
TOLD = {"time": TIMES, "place": PLACES, "weather": WEATHERS, "subject": SUBJECTS, "colour": COLOURS}
# What a caption does not tell is no one's to guess.
UNTOLD = -100


class Reader(nn.Module):
    """A text encoder, and a head for each attribute that is thrown away after this stage."""

    def __init__(self, studio: Studio) -> None:
        """Untrained."""
        super().__init__()
        self.encoder = text_encoder(studio.sizes)
        width = TEXT_LAYERS * studio.sizes.text_width
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(known)) for name, known in TOLD.items()})

    def loss(self, tokens_BL: torch.Tensor, answers: dict[str, torch.Tensor]) -> torch.Tensor:
        """How badly the attributes can be read off the embeddings, on average over all tokens."""
        read_BD = embeddings(self.encoder, tokens_BL).mean(1)
        missed = [
            functional.cross_entropy(self.heads[name](read_BD), answers[name], reduction="sum")
            / (answers[name] != UNTOLD).sum().clamp_min(1)
            for name in TOLD
        ]
        return torch.stack(missed).sum()

    @torch.no_grad()
    def right(self, tokens_BL: torch.Tensor, answers: dict[str, torch.Tensor]) -> dict[str, float]:
        """The share of told attributes that are read rightly."""
        read_BD = embeddings(self.encoder, tokens_BL).mean(1)
        shares = {}
        for name, answer_B in answers.items():
            told_B = answer_B != UNTOLD
            shares[name] = float((self.heads[name](read_BD).argmax(1) == answer_B)[told_B].float().mean())
        return shares


def train(studio: Studio, sitting: Sitting) -> None:
    """Captions without end; none of them comes twice."""
    reader, course = taken_up(studio)
    held_tokens, held_answers = captions_and_answers(studio, range(512))

    def loss_at(step: int) -> torch.Tensor:
        first = POOL_SEEDS + step * BATCH
        tokens_BL, answers = captions_and_answers(studio, range(first, first + BATCH))
        with studio.reckoning():
            return reader.loss(tokens_BL, answers)

    def report() -> str:
        return " ".join(
            f"{name} {share:.1%}" for name, share in reader.right(held_tokens, held_answers).items()
        )

    course.run(loss_at, sitting, report=report, name="text")


def taken_up(studio: Studio) -> tuple[Reader, Course]:
    """The reader as it stands, with its course."""
    torch.manual_seed(1)
    reader = Reader(studio).to(studio.device)
    return reader, Course(studio.folder / "text.pt", [reader], rate=RATE)


def embeddings(encoder: Qwen3ForCausalLM, tokens_BL: torch.Tensor) -> torch.Tensor:
    """What the pipeline makes of a prompt's tokens, of shape (B, L, layers * width)."""
    read = encoder.model(
        input_ids=tokens_BL,
        attention_mask=(tokens_BL != encoder.config.pad_token_id).long(),
        output_hidden_states=True,
        use_cache=False,
    )
    layers_BKLD = torch.stack([read.hidden_states[at] for at in range(1, TEXT_LAYERS + 1)], dim=1)
    return layers_BKLD.permute(0, 2, 1, 3).flatten(2)


def captions_and_answers(
    studio: Studio, seeds: Sequence[int]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A caption or an instruction of each seed's scene, as tokens, and what it tells."""
    texts, told = [], []
    for scene in scenes(seeds):
        if Random(scene.seed).random() < EDITS_AMONG:  # noqa: S311 - which of them are edits is no secret
            change = edit(scene, seed=scene.seed)
            texts.append(change.instruction)
            told.append((change.target, _changed(scene, change.target)))
        else:
            written = caption(scene, seed=scene.seed)
            texts.append(written.text)
            told.append((scene, written.said))
    answers = {
        name: torch.tensor(
            [known.index(getattr(scene, name)) if name in said else UNTOLD for scene, said in told],
            device=studio.device,
        )
        for name, known in TOLD.items()
    }
    return tokens_of(texts, studio.sizes).to(studio.device), answers


def _changed(scene: Scene, target: Scene) -> frozenset[str]:
    changed = {
        name
        for name in ("time", "place", "weather", "subject")
        if getattr(scene, name) != getattr(target, name)
    }
    return frozenset(changed)
