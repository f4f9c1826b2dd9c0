import math
from dataclasses import replace

from demo_model.captions import Caption
from demo_model.judge.table import COLUMNS, shares_of
from demo_model.painter.scene import scenes

ALL = frozenset(COLUMNS)


def test_what_a_prompt_leaves_unsaid_is_not_held_against_the_model() -> None:
    red = replace(scenes([1])[0], subject="house", colour="red")
    answer = {name: getattr(red, name) for name in COLUMNS} | {"colour": "blue"}
    said, unsaid = Caption(text="a red house", said=ALL), Caption(text="a house", said=ALL - {"colour"})
    assert shares_of([answer, answer], [(red, said), (red, unsaid)]) == [1, 1, 1, 1, 0]
    assert shares_of([answer], [(red, unsaid)])[:-1] == [1, 1, 1, 1]
    assert math.isnan(shares_of([answer], [(red, unsaid)])[-1])
