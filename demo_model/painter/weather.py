"""Weather in front of everything else: fog, rain, snow and lights."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.grid import Grid, draw_table, spread_table
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.shapes import Shape, box, to_column

LIGHTS: Final = palette.parse_colours("#fff2a8", "#9ff5e6", "#ffb3e6", "#c9b8ff")
# Each layer of flakes has its cell's side and its largest radius. The order is from far to near.
FLAKES: Final = ((0.045, 0.0045), (0.075, 0.008), (0.13, 0.0125))


def paint_weather(batch: SceneBatch) -> None:
    """Paint the weather of each scene that has one. The rainbow belongs to the sky."""
    for name, paint_part in WEATHER_PAINTERS.items():
        for part in batch.select(weather=name):
            paint_part(part)


def _paint_snow(batch: SceneBatch) -> None:
    for number, (pitch, largest) in enumerate(FLAKES):
        grid = _make_grid(batch, f"snow {number}", pitch, (0.5 * largest, largest))
        batch.canvas.draw(_dots(grid, pitch, share=0.45), batch.repeat("#fdfdff"), alpha=0.92)


def _paint_fog(batch: SceneBatch) -> None:
    mist = palette.mix(batch.light("#eef1f4"), batch.pick_by_time(palette.HAZE), 0.35)

    def veil(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        low = torch.exp(-(((y_1H1 - 0.62) / 0.30) ** 2))
        return (0.20 + 0.42 * low).expand(batch.count, -1, x_11W.shape[2])

    batch.canvas.wash(veil, mist)
    for number in range(5):
        x, y, wide, thick = batch.draw_numbers(
            f"fog {number}", (0, 1), (0.44, 0.95), (0.25, 0.6), (0.012, 0.03)
        )
        middle = x * batch.aspect
        bank = box(middle - wide, y - thick, middle + wide, y + thick, thick)
        batch.canvas.draw(bank, mist, alpha=0.6, soft=0.05)


def _paint_rain(batch: SceneBatch) -> None:
    grey = batch.light("#3b4252")
    batch.canvas.wash(
        lambda x, y: torch.full((batch.count, y.shape[1], x.shape[2]), 0.16, device=x.device), grey
    )
    for number, (wide, high, length, thick) in enumerate(
        ((0.03, 0.11, 0.05, 0.0016), (0.055, 0.2, 0.085, 0.0026))
    ):
        numbers = spread_table(
            draw_table(
                batch.seeds_B, f"rain {number}", kinds=4, rows=int(1 / high) + 2, columns=int(2 / wide)
            ),
            (-0.3, 0.3),
            (-0.25, 0.25),
            (0.7, 1.0),
            (0, 1),
        )
        grid = Grid(numbers, pitch=(wide, high), slant=0.22)

        def distance(
            x_11W: torch.Tensor,
            y_1H1: torch.Tensor,
            grid: Grid = grid,
            measures: tuple[float, float, float, float] = (wide, high, length, thick),
        ) -> torch.Tensor:
            sample = grid.sample(x_11W, y_1H1)
            shift_x, shift_y, long, chance = sample.numbers_KBHW
            across = (sample.x_BHW - shift_x * measures[0]).abs() - measures[3]
            along = (sample.y_BHW - shift_y * measures[1]).abs() - long * measures[2]
            return torch.where(chance < 0.6, torch.maximum(across, along), 1.0)

        drops = palette.mix(batch.light("#dfe9f7"), batch.repeat("#dfe9f7"), 0.5)
        batch.canvas.draw(Shape(distance, (-np.inf, -np.inf, np.inf, np.inf)), drops, alpha=0.75)


def _paint_lights(batch: SceneBatch) -> None:
    pitch = 0.14
    # The cells are large enough for a whole halo.
    grid = _make_grid(batch, "lights", pitch, (0.008, 0.013), shift=0.22)
    tones = torch.from_numpy(LIGHTS).to(batch.canvas.pixels_BCHW.device)

    def paint(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        kind_BHW = (grid.sample(x_11W, y_1H1).numbers_KBHW[4] * len(LIGHTS)).long()
        return tones[kind_BHW].permute(0, 3, 1, 2)

    def halo(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift_x, shift_y, size, chance, _ = sample.numbers_KBHW
        away = torch.hypot(sample.x_BHW - shift_x * pitch, sample.y_BHW - shift_y * pitch)
        return torch.where(chance < 0.75, 0.75 * torch.exp(-((away / (2.0 * size)) ** 2)), 0.0)

    batch.canvas.wash(halo, paint)
    middle = _dots(grid, pitch, share=0.75)
    batch.canvas.draw(
        middle._replace(distance=lambda x, y: middle.distance(x, y) + 0.004),
        batch.repeat("#fffdf2"),
        alpha=0.95,
    )


def _make_grid(
    batch: SceneBatch, name: str, pitch: float, radius: tuple[float, float], *, shift: float = 0.3
) -> Grid:
    """Return a grid whose cells hold a shift each way, a radius, a chance to be empty and a kind."""
    rows, columns = int(1 / pitch) + 2, int(batch.aspect / pitch) + 2
    numbers = draw_table(batch.seeds_B, name, kinds=5, rows=rows, columns=columns)
    return Grid(
        spread_table(numbers, (-shift, shift), (-shift, shift), radius, (0, 1), (0, 0.999)),
        pitch=(pitch, pitch),
        left=-batch.draw_numbers(name + " left", (0, pitch))[0],
    )


def _dots(grid: Grid, pitch: float, *, share: float) -> Shape:
    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        shift_x, shift_y, size, chance, _ = sample.numbers_KBHW
        away = torch.hypot(sample.x_BHW - shift_x * pitch, sample.y_BHW - shift_y * pitch)
        return away - torch.where(chance < share, size, to_column(-1.0, x_11W))

    return Shape(distance, (-np.inf, -np.inf, np.inf, np.inf))


WEATHER_PAINTERS: Final = {
    "snow": _paint_snow,
    "fog": _paint_fog,
    "rain": _paint_rain,
    "magical lights": _paint_lights,
}
