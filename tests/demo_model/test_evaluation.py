import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from demo_model.captions import Caption
from demo_model.evaluation.table import COLUMNS, build_tables, compute_shares
from demo_model.painter import paint
from demo_model.painter.scene import ATTRIBUTES, draw_scenes
from demo_model.train import classifier
from demo_model.train.run import TrainingRun
from tests.demo_model.conftest import make_budget

pytestmark = pytest.mark.long

SIZE = (128, 64)
ALL_ATTRIBUTES = frozenset(COLUMNS)


def test_the_classifier_learns_a_few_pictures_and_answers_in_the_painter_s_words(
    trained: TrainingRun,
) -> None:
    classifier_, trainer = classifier.load(trained)
    shown = draw_scenes(range(4))
    pixels_BCHW = paint(shown, width=64, height=64)
    right = classifier.label_scenes(shown, trained.device)

    def compute_loss(_step: int) -> torch.Tensor:
        scores = classifier_(pixels_BCHW)
        missed = [torch.nn.functional.cross_entropy(scores[name], right[name]) for name in ATTRIBUTES]
        return torch.stack(missed).sum()

    trainer.train(compute_loss, make_budget(25), name="classifier")
    answers = classifier_.classify(pixels_BCHW)
    assert sum(answer["time"] == scene.time for answer, scene in zip(answers, shown, strict=True)) == 4
    (trained.folder / "classifier.pt").unlink()


def test_the_table_has_a_row_for_each_kind_of_picture(exported: Path, trained: TrainingRun) -> None:
    with pytest.raises(FileNotFoundError, match="Run the stage classifier first"):
        build_tables(trained, weights=exported, count=2, size=SIZE)
    classifier.train(trained, make_budget(1), picture_count=4, batch=2)
    attributes, subjects = build_tables(trained, weights=exported, count=4, size=SIZE).split("\n\n")
    (trained.folder / "classifier.pt").unlink()
    right = ["painter", "painter, reconstructed by the autoencoder", "**model**"]
    assert _read_names(attributes) == [*right, "model, compared with another prompt", "target"]
    assert _read_names(subjects) == right
    asked = [cell.split(" of ")[1] for cell in subjects.splitlines()[2].strip("| ").split(" | ")[1:]]
    assert sum(map(int, asked)) == 4


def _read_names(table: str) -> list[str]:
    return [row.split("|")[1].strip() for row in table.splitlines()[2:]]


def test_an_attribute_that_a_prompt_omits_does_not_count() -> None:
    red = replace(draw_scenes([1])[0], subject="house", colour="red")
    answer = {name: getattr(red, name) for name in COLUMNS} | {"colour": "blue"}
    stated, omitted = (
        Caption(text="a red house", attributes=ALL_ATTRIBUTES),
        Caption(text="a house", attributes=ALL_ATTRIBUTES - {"colour"}),
    )
    assert compute_shares([answer, answer], [(red, stated), (red, omitted)]) == [1, 1, 1, 1, 0]
    assert compute_shares([answer], [(red, omitted)])[:-1] == [1, 1, 1, 1]
    assert math.isnan(compute_shares([answer], [(red, omitted)])[-1])
