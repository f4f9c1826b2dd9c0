"""Sea: its gradient, its glitter under the sun or the moon, and small waves."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.grid import Grid, draw_table, spread_table
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.shapes import Shape, box, to_column
from demo_model.painter.sky import place_disc

# The order is that of scene.TIMES.
WATER: Final = palette.parse_colours("#7f86c8", "#3f97cf", "#5d9a94", "#66476f", "#1b2c6e")
DEEP: Final = palette.parse_colours("#5a5aa8", "#12539c", "#1f5b63", "#2a2348", "#080e38")


def paint_water(batch: SceneBatch, *, top: float) -> None:
    """Paint water from `top` down."""
    canvas = batch.canvas
    near, far = batch.pick_by_time(DEEP), batch.pick_by_time(WATER)
    canvas.draw(box(-1, top, 3, 2), make_gradient(far, near, start=top, end=1.0))
    shine = batch.pick_by_time(palette.SKY_FOOT)
    canvas.draw(box(-1, top, 3, top + 0.012), shine, alpha=0.45, soft=0.008)
    _paint_glitter(batch, top=top)
    _paint_waves(batch, top=top)


def _paint_glitter(batch: SceneBatch, *, top: float) -> None:
    x, _, radius = place_disc(batch)
    numbers = spread_table(
        draw_table(batch.seeds_B, "glitter", kinds=2, rows=12, columns=1), (-0.03, 0.03), (0.5, 1.0)
    )
    pitch = 0.028
    grid = Grid(numbers, pitch=(10.0, pitch), left=-5.0, top=top + 0.012)

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift, wide = sample.numbers_KBHW
        depth = (y_1H1 - top) / 0.36
        half = to_column(radius, x_11W) * (1.0 + 0.9 * depth) * wide
        across = (x_11W - to_column(x, x_11W) - shift).abs() - half
        return torch.maximum(across, sample.y_BHW.abs() - 0.0042) + 0.0

    veil = 0.85 - 0.5 * batch.is_weather("fog", "rain", "snow")
    batch.canvas.draw(
        Shape(distance, (-np.inf, top, np.inf, top + 0.34)), palette.DISC[batch.time_B], alpha=veil
    )


def _paint_waves(batch: SceneBatch, *, top: float) -> None:
    numbers = spread_table(
        draw_table(batch.seeds_B, "waves", kinds=4, rows=9, columns=14),
        (-0.2, 0.2),
        (-0.3, 0.3),
        (0.12, 0.3),
        (0, 1),
    )
    wide, high = 0.16, 0.048
    grid = Grid(numbers, pitch=(wide, high), top=top + 0.02)

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift_x, shift_y, length, chance = sample.numbers_KBHW
        half = torch.where(chance < 0.42, length * wide, -1.0)
        across = (sample.x_BHW - shift_x * wide).abs() - half
        return torch.maximum(across, (sample.y_BHW - shift_y * high).abs() - 0.0028)

    light = palette.mix(batch.pick_by_time(WATER), batch.pick_by_time(palette.SKY_FOOT), 0.6)
    batch.canvas.draw(Shape(distance, (-np.inf, top + 0.02, np.inf, 1.0)), light, alpha=0.65)
