"""The steps after which an order gets a preview: spread, never the last one, and never at the cost of a picture."""

import logging

import numpy as np
import pytest

from workers.engine import preview_steps
from workers.engine.interface import ImageOrder, Preview

PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("count", "step_count", "steps"),
    [
        (0, 4, []),
        (1, 4, [2]),
        (2, 4, [1, 3]),
        (3, 4, [1, 2, 3]),
        (3, 6, [2, 3, 4]),
        (3, 28, [7, 14, 21]),
        (3, 2, [1]),
        (3, 1, []),
    ],
)
def test_previews_are_spread_over_the_steps_before_the_last(
    count: int, step_count: int, steps: list[int]
) -> None:
    assert preview_steps.choose_steps(count=count, step_count=step_count) == steps


def test_a_preview_has_its_index_and_its_step() -> None:
    got: list[Preview] = []
    order = ImageOrder(prompt="x", width=4, height=4, seed=1, preview_count=2, on_preview=got.append)
    for done in range(1, 5):
        if preview_steps.is_due(order, done=done, step_count=4):
            preview_steps.offer(order, done=done, step_count=4, render=lambda: PICTURE)
    assert [(preview.number, preview.step) for preview in got] == [(0, 1), (1, 3)]
    assert got[0].render() is PICTURE


def test_an_order_that_asks_for_none_is_never_due() -> None:
    order = ImageOrder(prompt="x", width=4, height=4, seed=1)
    assert not any(preview_steps.is_due(order, done=done, step_count=4) for done in range(1, 5))


def test_a_callback_that_fails_costs_no_picture(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_preview: Preview) -> None:
        raise LookupError("unexpected")

    order = ImageOrder(prompt="x", width=4, height=4, seed=1, preview_count=1, on_preview=fail)
    with caplog.at_level(logging.ERROR):
        preview_steps.offer(order, done=2, step_count=4, render=lambda: PICTURE)
    assert "a preview callback failed" in caplog.text
