import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from demo_model.captions import Caption
from demo_model.evaluation import classifier
from demo_model.evaluation.table import COLUMNS, shares_of, table
from demo_model.painter import paint
from demo_model.painter.scene import scenes
from demo_model.train.run import Studio
from tests.demo_model.conftest import sitting

SIZE = (128, 64)
ALL = frozenset(COLUMNS)


def test_the_judge_learns_a_handful_of_pictures_and_answers_in_the_painter_s_words(trained: Studio) -> None:
    judge, course = classifier.taken_up(trained)
    shown = scenes(range(4))
    pixels_BCHW = paint(shown, width=64, height=64)
    right = classifier.right_answers(shown, trained.device)

    def loss_at(_step: int) -> torch.Tensor:
        scores = judge(pixels_BCHW)
        missed = [torch.nn.functional.cross_entropy(scores[name], right[name]) for name in classifier.ASKED]
        return torch.stack(missed).sum()

    course.run(loss_at, sitting(25), name="judge")
    answers = judge.answers(pixels_BCHW)
    assert sum(answer["time"] == scene.time for answer, scene in zip(answers, shown, strict=True)) == 4
    (trained.folder / "judge.pt").unlink()


def test_the_judge_s_table_has_a_row_for_each_kind_of_picture(exported: Path, trained: Studio) -> None:
    with pytest.raises(FileNotFoundError, match="train the judge first"):
        table(trained, weights=exported, count=2, size=SIZE)
    classifier.train(trained, sitting(1), picture_count=4, batch=2)
    attributes, subjects = table(trained, weights=exported, count=4, size=SIZE).split("\n\n")
    (trained.folder / "judge.pt").unlink()
    right = ["painter", "painter, through the autoencoder", "**model**"]
    assert _names(attributes) == [*right, "model, against another prompt", "to reach"]
    assert _names(subjects) == right
    asked = [cell.split(" of ")[1] for cell in subjects.splitlines()[2].strip("| ").split(" | ")[1:]]
    assert sum(map(int, asked)) == 4


def _names(of_table: str) -> list[str]:
    return [row.split("|")[1].strip() for row in of_table.splitlines()[2:]]


def test_what_a_prompt_leaves_unsaid_is_not_held_against_the_model() -> None:
    red = replace(scenes([1])[0], subject="house", colour="red")
    answer = {name: getattr(red, name) for name in COLUMNS} | {"colour": "blue"}
    said, unsaid = Caption(text="a red house", said=ALL), Caption(text="a house", said=ALL - {"colour"})
    assert shares_of([answer, answer], [(red, said), (red, unsaid)]) == [1, 1, 1, 1, 0]
    assert shares_of([answer], [(red, unsaid)])[:-1] == [1, 1, 1, 1]
    assert math.isnan(shares_of([answer], [(red, unsaid)])[-1])
