"""City: rows of towers with windows, and a street."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.grid import Grid, GridSample, draw_table, spread_table
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.shapes import Shape, box, to_column

STREET: Final = 0.84
WALLS: Final = palette.parse_colours("#7b8db5", "#6f9bb0", "#9a8cb8", "#b58f8f", "#6d7fa6", "#8fa3a8")
WINDOWS: Final = palette.parse_colours("#ffdf7a", "#ffe9b0", "#7fe7f0", "#ff9be6")


def paint_city(batch: SceneBatch) -> None:
    """Paint two rows of towers behind a street."""
    _paint_towers(batch, "far towers", pitch=0.135, tall=(0.24, 0.52), haze=0.55)
    _paint_towers(batch, "near towers", pitch=0.17, tall=(0.16, 0.46), haze=0.08)
    canvas = batch.canvas
    kerb, road = batch.add_snow(batch.light("#a9a6a3"), 0.8), batch.add_snow(batch.light("#565b68"), 0.7)
    canvas.draw(box(-1, STREET, 3, 2), kerb)
    canvas.draw(box(-1, STREET + 0.03, 3, 2), make_gradient(road, 0.8 * road, start=STREET, end=1.0))

    def dashes(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        across = (torch.remainder(x_11W, 0.14) - 0.07).abs() - 0.038
        return torch.maximum(across, (y_1H1 - STREET - 0.095).abs() - 0.006)

    canvas.draw(
        Shape(dashes, (-np.inf, STREET + 0.08, np.inf, STREET + 0.11)), batch.light("#f0d58a"), alpha=0.9
    )


def _paint_towers(
    batch: SceneBatch, name: str, *, pitch: float, tall: tuple[float, float], haze: float
) -> None:
    columns = int(np.ceil(batch.aspect / pitch)) + 1
    # The numbers are the height, the width, the kind of roof and the kind of wall.
    numbers = spread_table(
        draw_table(batch.seeds_B, name, kinds=4, rows=1, columns=columns),
        tall,
        (0.68, 0.97),
        (0, 1),
        (0, 0.999),
    )
    [start] = batch.draw_numbers(name + " start", (-pitch, 0))
    grid = Grid(numbers, pitch=(pitch, 1.0), left=start)
    bounds = (-np.inf, STREET - tall[1] - 0.1, np.inf, STREET + 0.01)
    tones = torch.from_numpy(np.stack([batch.light(tone, haze=haze) for tone in _repeat_walls(batch)]))

    def body(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        height, wide, roof, _ = sample.numbers_KBHW
        half, top = wide * pitch / 2, STREET - height
        across, down = sample.x_BHW.abs() - half, top - y_1H1
        flat = torch.maximum(across, down)
        dome = torch.hypot(sample.x_BHW, y_1H1 - top) - half
        step = torch.maximum(sample.x_BHW.abs() - half * 0.6, down - 0.035)
        spire = torch.maximum(sample.x_BHW.abs() - 0.005, down - 0.09)
        chosen = torch.where(roof < 0.25, torch.minimum(flat, dome), flat)
        chosen = torch.where((roof >= 0.25) & (roof < 0.5), torch.minimum(flat, step), chosen)
        return torch.where(roof > 0.72, torch.minimum(flat, spire), chosen)

    def walls(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        kind_BHW = (grid.sample(x_11W, y_1H1).numbers_KBHW[3] * len(WALLS)).long()
        scene_B11 = torch.arange(batch.count, device=kind_BHW.device).view(-1, 1, 1)
        shade = 1.04 - 0.22 * (y_1H1 - 0.3).clamp(0, 1)
        return tones.to(kind_BHW.device)[kind_BHW, scene_B11].permute(0, 3, 1, 2) * shade[:, None]

    batch.canvas.draw(Shape(body, bounds), walls)
    _paint_windows(batch, grid, name, pitch=pitch, haze=haze, bounds=bounds)


def _repeat_walls(batch: SceneBatch) -> list[np.ndarray]:
    return [np.repeat(wall[None], batch.count, axis=0) for wall in WALLS]


def _paint_windows(
    batch: SceneBatch,
    grid: Grid,
    name: str,
    *,
    pitch: float,
    haze: float,
    bounds: tuple[float, float, float, float],
) -> None:
    lit = draw_table(batch.seeds_B, name + " windows", kinds=1, rows=32, columns=64)
    is_dark = batch.is_time("night", "sunset")
    share = to_column(0.25 + 0.35 * is_dark, batch.canvas.pixels_BCHW)
    lights_B3 = palette.choose(WINDOWS, batch.draw_numbers(name + " lights", (0, 0.99))[0])
    dull = palette.mix(batch.light("#dfeaf5", haze=haze), batch.light("#ffffff"), 0.2)
    bright = palette.mix(dull, lights_B3, 0.25 + 0.75 * is_dark)

    def window(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample: GridSample = grid.sample(x_11W, y_1H1)
        height, wide, _, kind = sample.numbers_KBHW
        half, top = wide * pitch / 2, STREET - height
        gap_x, gap_y = 2 * (half - 0.012) / 3, 0.036
        in_x, in_y = sample.x_BHW + half - 0.012, y_1H1 - top - 0.03
        at_x, at_y = (in_x / gap_x).floor(), (in_y / gap_y).floor()
        across = (in_x - (at_x + 0.5) * gap_x).abs() - gap_x * 0.27
        down = (in_y - (at_y + 0.5) * gap_y).abs() - gap_y * 0.28
        inside = torch.maximum(sample.x_BHW.abs() - half + 0.012, torch.maximum(-in_y, y_1H1 - STREET + 0.04))
        scene_B11 = torch.arange(batch.count, device=in_x.device).view(-1, 1, 1)
        column_BHW = (at_x + 3 * (kind * 21).floor()).clamp(0, 63).long()
        chance = torch.from_numpy(lit[:, 0]).to(in_x.device)[scene_B11, at_y.clamp(0, 31).long(), column_BHW]
        shape = torch.maximum(torch.maximum(across, down), inside)
        return torch.where(chance < share, shape, 1.0)

    batch.canvas.draw(Shape(window, bounds), bright, alpha=0.85 - 0.4 * haze)
