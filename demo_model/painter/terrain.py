"""Terrain and plants: hills, peaks, pines, leafy trees and flowers, and the ground under a subject."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.grid import Grid, GridSample, draw_table, spread_table
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import Shape, below, box, ellipse, polygon, to_column, union

PETALS: Final = palette.parse_colours(
    "#f26d7d", "#f7b733", "#fff3e6", "#c77dff", "#ff8fab", "#f25f3a", "#7aa7ff"
)


def paint_hill(
    batch: SceneBatch,
    name: str,
    *,
    y: float,
    swing: float,
    colour: str,
    haze: float,
    snow: float,
    alpha: Floats | float = 1.0,
) -> None:
    """Paint ground whose edge swings about a height. It is darker towards its foot."""
    first, second, slow, quick = batch.draw_numbers(name, (0, 6.28), (0, 6.28), (2.0, 4.0), (5.0, 8.0))

    def height(x_11W: torch.Tensor) -> torch.Tensor:
        wide = torch.sin(x_11W * to_column(slow, x_11W) + to_column(first, x_11W))
        narrow = torch.sin(x_11W * to_column(quick, x_11W) + to_column(second, x_11W))
        return y + swing * (0.7 * wide + 0.3 * narrow)

    light = batch.add_snow(batch.light(colour, haze=haze), snow, haze=haze)
    dark = palette.mix(light, batch.light("#20303c", haze=haze * 0.5), 0.22)
    batch.canvas.draw(
        below(height, y - swing), make_gradient(light, dark, start=y - swing, end=y + 0.26), alpha=alpha
    )


def paint_pines(  # noqa: PLR0913 - a row of pines has this many properties
    batch: SceneBatch,
    name: str,
    *,
    foot: float,
    tall: tuple[float, float],
    pitch: float,
    share: float,
    colour: str,
    haze: float,
    only: tuple[Floats, float] | None = None,
) -> None:
    """Paint a row of pines, each in its own stretch of the width.

    With `only` (is_shown, x) there is one pine, from x on, in the scenes that have it.
    """
    start = -pitch * 0.5 if only is None else only[1]
    columns = 1 if only is not None else int(np.ceil(batch.aspect / pitch)) + 1
    numbers = spread_table(
        draw_table(batch.seeds_B, name, kinds=4, rows=1, columns=columns),
        (-0.1, 0.1),
        tall,
        (0, 1),
        (-0.012, 0.03),
    )
    if only is not None:
        numbers[:, 2] = np.where(only[0] > 0, 0, 2)[:, None, None]
    grid = Grid(numbers, pitch=(pitch, 1.0), left=start)
    right = np.inf if only is None else start + pitch
    bounds = (start, foot - tall[1], right, foot + 0.04)

    def trunk(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        x, rise, wide = _measure_pine(grid.sample(x_11W, y_1H1), y_1H1, pitch=pitch, share=share, foot=foot)
        return torch.maximum(x - 0.09 * wide, torch.maximum(-rise, rise - 0.3) * 0.2)

    def leaves(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        x, rise, wide = _measure_pine(grid.sample(x_11W, y_1H1), y_1H1, pitch=pitch, share=share, foot=foot)
        # A pine has three skirts, each narrower than the one below it.
        skirts = [(0.14, 0.58, 1.0), (0.40, 0.80, 0.78), (0.64, 1.0, 0.54)]
        inside = [
            torch.maximum(x - wide * part * (high - rise) / (high - low), (low - rise) * 0.3)
            for low, high, part in skirts
        ]
        return torch.minimum(torch.minimum(inside[0], inside[1]), inside[2]) * 0.8

    bright = batch.add_snow(batch.light(colour, haze=haze), 0.55, haze=haze)
    dark = palette.mix(bright, batch.light("#10302e", haze=haze), 0.35)
    batch.canvas.draw(Shape(trunk, bounds), batch.light("#7a4a34", haze=haze))
    batch.canvas.draw(Shape(leaves, bounds), make_gradient(bright, dark, start=foot - tall[1], end=foot))


def _measure_pine(
    sample: GridSample, y_1H1: torch.Tensor, *, pitch: float, share: float, foot: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return each pixel's distance from the middle of its pine, its height, and the pine's half width.

    The height in the pine is 0 at the foot and 1 at the top. The half width is the largest one.
    """
    shift, tall, chance, sink = sample.numbers_KBHW
    rise = (foot + sink - y_1H1) / tall
    wide = (tall * 0.3).clamp_max(pitch * 0.4)
    # A cell without a pine gets a distance that is outside of any pine.
    away = torch.where(chance <= share, (sample.x_BHW - shift * pitch).abs(), 1.0)
    return away, rise, wide


def paint_leafy_tree(
    batch: SceneBatch,
    name: str,
    x: Floats,
    foot: Floats,
    size: Floats,
    *,
    leaves: str | Floats,
    alpha: Floats | float = 1.0,
) -> None:
    """Paint a trunk and a round crown. `size` is the crown's radius."""
    tall, left, right = batch.draw_numbers(name, (1.3, 1.7), (0.55, 0.7), (0.55, 0.7))
    crown = foot - size * tall - size * 0.35
    bright = batch.add_snow(batch.light(leaves), 0.6)
    dark = palette.mix(bright, batch.light("#173a33"), 0.32)
    canvas = batch.canvas
    half = size * 0.11
    trunk = polygon(
        (x - half * 0.7, crown), (x + half * 0.7, crown), (x + half * 1.5, foot), (x - half * 1.5, foot)
    )
    canvas.draw(trunk, batch.light("#7b4b36"), alpha=alpha)
    puffs = union(
        ellipse(x, crown - size * 0.25, size * 0.85, size * 0.85),
        ellipse(x - size * 0.62, crown + size * 0.2, size * left, size * left),
        ellipse(x + size * 0.62, crown + size * 0.15, size * right, size * right),
    )
    canvas.draw(puffs, make_gradient(bright, dark, start=crown - size, end=crown + size * 0.9), alpha=alpha)
    shine = ellipse(x - size * 0.28, crown - size * 0.5, size * 0.34, size * 0.26)
    canvas.draw(
        shine, palette.mix(bright, batch.light("#ffffff"), 0.25), alpha=0.45 * np.asarray(alpha), soft=0.02
    )


def paint_flowers(batch: SceneBatch) -> None:
    """Paint a meadow's flowers, from small ones at the back to large ones in front."""
    for number, (top, pitch) in enumerate(((0.775, 0.062), (0.84, 0.085), (0.915, 0.11))):
        columns = int(np.ceil(batch.aspect / pitch)) + 1
        numbers = spread_table(
            draw_table(batch.seeds_B, f"flowers {number}", kinds=5, rows=1, columns=columns),
            (-0.22, 0.22),
            (-0.2, 0.2),
            (0.13, 0.22),
            (0, 1),
            (0, 1),
        )
        numbers[:, 3] -= 0.25 * batch.is_weather("snow")[:, None, None]
        _paint_flower_row(batch, Grid(numbers, pitch=(pitch, pitch), top=top), pitch=pitch, top=top)


def _paint_flower_row(batch: SceneBatch, grid: Grid, *, pitch: float, top: float) -> None:
    bounds = (-np.inf, top, np.inf, top + pitch)
    petals = torch.from_numpy(
        np.stack([batch.light(np.repeat(petal[None], batch.count, axis=0)) for petal in PETALS])
    ).to(batch.canvas.pixels_BCHW.device)

    def flower(x_11W: torch.Tensor, y_1H1: torch.Tensor, *, leaves: float) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift_x, shift_y, size, chance, _ = sample.numbers_KBHW
        x, y = sample.x_BHW - shift_x * pitch, sample.y_BHW - shift_y * pitch
        radius = torch.where(chance > 0.42, size * pitch, -pitch)
        away, angle = torch.hypot(x, y), torch.atan2(y, x)
        return away - radius * (1 - leaves + leaves * torch.cos(5 * angle)) * (1 if leaves else 0.42)

    def petal_paint(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        kind_BHW = (grid.sample(x_11W, y_1H1).numbers_KBHW[4] * len(PETALS)).long()
        scene_B11 = torch.arange(batch.count, device=kind_BHW.device).view(-1, 1, 1)
        return petals[kind_BHW, scene_B11].permute(0, 3, 1, 2)

    def stem(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift_x, shift_y, _, chance, _ = sample.numbers_KBHW
        across = (sample.x_BHW - shift_x * pitch).abs() - torch.where(chance > 0.42, 0.03 * pitch, -pitch)
        return torch.maximum(across, shift_y * pitch - sample.y_BHW)

    canvas = batch.canvas
    canvas.draw(Shape(stem, bounds), batch.add_snow(batch.light("#3f7d3f"), 0.4))
    canvas.draw(Shape(lambda x, y: flower(x, y, leaves=0.24), bounds), petal_paint)
    canvas.draw(Shape(lambda x, y: flower(x, y, leaves=0.0), bounds), batch.light("#ffe48a"))


def paint_shadow(batch: SceneBatch, x: Floats, foot: Floats, wide: Floats) -> None:
    """Paint the shadow of a subject on the ground."""
    dark = batch.light("#1c2433")
    batch.canvas.draw(ellipse(x, foot, wide, wide * 0.16), dark, alpha=0.30, soft=0.015)


def paint_islet(batch: SceneBatch, x: Floats, foot: Floats, wide: Floats) -> None:
    """Paint a little sand in the sea under a subject that stands."""
    sand, wet = batch.add_snow(batch.light("#efd9a4"), 0.8), batch.light("#c9a96f")
    foam = batch.pick_by_time(palette.SKY_FOOT)
    batch.canvas.draw(ellipse(x, foot + 0.015, wide * 1.1, wide * 0.25), foam, alpha=0.55, soft=0.012)
    sandy = make_gradient(sand, wet, start=foot - wide * 0.1, end=foot + wide * 0.22)
    batch.canvas.draw(ellipse(x, foot + 0.01, wide, wide * 0.2), sandy)


def paint_pond(batch: SceneBatch, x: Floats, y: Floats, wide: Floats, alpha: Floats) -> None:
    """Paint a pond under a boat that is not at sea."""
    light, dark = batch.pick_by_time(palette.SKY_FOOT), batch.light("#3d86b8")
    batch.canvas.draw(ellipse(x, y, wide * 1.06, wide * 0.30), batch.light("#b79a6b"), alpha=alpha)
    blue = palette.mix(dark, light, 0.25)
    batch.canvas.draw(
        ellipse(x, y, wide, wide * 0.26),
        make_gradient(dark, blue, start=y - wide * 0.26, end=y + wide * 0.26),
        alpha=alpha,
    )
    for shift in (-0.45, 0.3):
        line = box(x + wide * (shift - 0.16), y + wide * 0.10, x + wide * (shift + 0.16), y + wide * 0.12)
        batch.canvas.draw(line, light, alpha=0.6 * alpha)
