"""The playground predicts the size of an edit as the service decides it."""

import random

from tests.zekron_api.console import scripts
from zekron_api.console import playground
from zekron_api.endpoints import sizes


def test_the_size_of_an_edit_is_predicted_as_the_service_decides_it() -> None:
    chance = random.Random(1)
    shapes = [(1, 1), (1, 10_000), (10_000, 1), (3, 1), (1, 3), (4000, 3000), (3000, 4000), (16641, 16384)]
    shapes += [(chance.randint(1, 9000), chance.randint(1, 9000)) for _ in range(500)]
    predicted = scripts.call(
        "sizes.js", "shapeLike", *([width, height, playground.SIZE_RULE] for width, height in shapes)
    )
    assert predicted == [str(sizes.shape_like(sizes.Size(*shape))) for shape in shapes]
