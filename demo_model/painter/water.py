"""The sea: its gradient, the glitter under sun or moon, small waves."""

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import gradient
from demo_model.painter.grid import Cells, sizes, table
from demo_model.painter.scene_batch import Easel
from demo_model.painter.shapes import Shape, box, column
from demo_model.painter.sky import disc_place

# In the order of scene.TIMES.
WATER = palette.colours("#7f86c8", "#3f97cf", "#5d9a94", "#66476f", "#1b2c6e")
DEEP = palette.colours("#5a5aa8", "#12539c", "#1f5b63", "#2a2348", "#080e38")


def paint_water(easel: Easel, *, top: float) -> None:
    """Water from `top` down."""
    canvas = easel.canvas
    near, far = easel.by_time(DEEP), easel.by_time(WATER)
    canvas.draw(box(-1, top, 3, 2), gradient(far, near, start=top, end=1.0))
    shine = easel.by_time(palette.SKY_FOOT)
    canvas.draw(box(-1, top, 3, top + 0.012), shine, alpha=0.45, soft=0.008)
    _paint_glitter(easel, top=top)
    _paint_waves(easel, top=top)


def _paint_glitter(easel: Easel, *, top: float) -> None:
    x, _, radius = disc_place(easel)
    numbers = sizes(table(easel.seeds_B, "glitter", kinds=2, rows=12, columns=1), (-0.03, 0.03), (0.5, 1.0))
    pitch = 0.028
    cells = Cells(numbers, pitch=(10.0, pitch), left=-5.0, top=top + 0.012)

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        look = cells.look(x_11W, y_1H1)
        shift, wide = look.numbers_KBHW
        depth = (y_1H1 - top) / 0.36
        half = column(radius, x_11W) * (1.0 + 0.9 * depth) * wide
        across = (x_11W - column(x, x_11W) - shift).abs() - half
        return torch.maximum(across, look.y_BHW.abs() - 0.0042) + 0.0

    veil = 0.85 - 0.5 * easel.is_weather("fog", "rain", "snow")
    easel.canvas.draw(
        Shape(distance, (-np.inf, top, np.inf, top + 0.34)), palette.DISC[easel.time_B], alpha=veil
    )


def _paint_waves(easel: Easel, *, top: float) -> None:
    numbers = sizes(
        table(easel.seeds_B, "waves", kinds=4, rows=9, columns=14),
        (-0.2, 0.2),
        (-0.3, 0.3),
        (0.12, 0.3),
        (0, 1),
    )
    wide, high = 0.16, 0.048
    cells = Cells(numbers, pitch=(wide, high), top=top + 0.02)

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        look = cells.look(x_11W, y_1H1)
        shift_x, shift_y, length, chance = look.numbers_KBHW
        half = torch.where(chance < 0.42, length * wide, -1.0)
        across = (look.x_BHW - shift_x * wide).abs() - half
        return torch.maximum(across, (look.y_BHW - shift_y * high).abs() - 0.0028)

    light = palette.mixed(easel.by_time(WATER), easel.by_time(palette.SKY_FOOT), 0.6)
    easel.canvas.draw(Shape(distance, (-np.inf, top + 0.02, np.inf, 1.0)), light, alpha=0.65)
