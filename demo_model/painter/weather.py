"""What lies in the air before everything else: fog, rain, snow, lights."""

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.grid import Cells, sizes, table
from demo_model.painter.scene_batch import Easel
from demo_model.painter.shapes import Shape, box, column

LIGHTS = palette.colours("#fff2a8", "#9ff5e6", "#ffb3e6", "#c9b8ff")
# Layers of flakes, each with its cell's side and its largest radius, from far to near.
FLAKES = ((0.045, 0.0045), (0.075, 0.008), (0.13, 0.0125))


def paint_weather(easel: Easel) -> None:
    """The weather of each scene that has some."""
    for name, painted in WEATHERS_PAINTED.items():
        for part in easel.parts(weather=name):
            painted(part)


def _paint_snow(easel: Easel) -> None:
    for number, (pitch, largest) in enumerate(FLAKES):
        cells = _grid(easel, f"snow {number}", pitch, (0.5 * largest, largest))
        easel.canvas.draw(_dots(cells, pitch, share=0.45), easel.plain("#fdfdff"), alpha=0.92)


def _paint_fog(easel: Easel) -> None:
    mist = palette.mixed(easel.lit("#eef1f4"), easel.by_time(palette.HAZE), 0.35)

    def veil(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        low = torch.exp(-(((y_1H1 - 0.62) / 0.30) ** 2))
        return (0.20 + 0.42 * low).expand(easel.count, -1, x_11W.shape[2])

    easel.canvas.wash(veil, mist)
    for number in range(5):
        x, y, wide, thick = easel.numbers(f"fog {number}", (0, 1), (0.44, 0.95), (0.25, 0.6), (0.012, 0.03))
        middle = x * easel.aspect
        bank = box(middle - wide, y - thick, middle + wide, y + thick, thick)
        easel.canvas.draw(bank, mist, alpha=0.6, soft=0.05)


def _paint_rain(easel: Easel) -> None:
    grey = easel.lit("#3b4252")
    easel.canvas.wash(
        lambda x, y: torch.full((easel.count, y.shape[1], x.shape[2]), 0.16, device=x.device), grey
    )
    for number, (wide, high, length, thick) in enumerate(
        ((0.03, 0.11, 0.05, 0.0016), (0.055, 0.2, 0.085, 0.0026))
    ):
        numbers = sizes(
            table(easel.seeds_B, f"rain {number}", kinds=4, rows=int(1 / high) + 2, columns=int(2 / wide)),
            (-0.3, 0.3),
            (-0.25, 0.25),
            (0.7, 1.0),
            (0, 1),
        )
        cells = Cells(numbers, pitch=(wide, high), slant=0.22)

        def distance(
            x_11W: torch.Tensor,
            y_1H1: torch.Tensor,
            cells: Cells = cells,
            measures: tuple[float, float, float, float] = (wide, high, length, thick),
        ) -> torch.Tensor:
            look = cells.look(x_11W, y_1H1)
            shift_x, shift_y, long, chance = look.numbers_KBHW
            across = (look.x_BHW - shift_x * measures[0]).abs() - measures[3]
            along = (look.y_BHW - shift_y * measures[1]).abs() - long * measures[2]
            return torch.where(chance < 0.6, torch.maximum(across, along), 1.0)

        drops = palette.mixed(easel.lit("#dfe9f7"), easel.plain("#dfe9f7"), 0.5)
        easel.canvas.draw(Shape(distance, (-np.inf, -np.inf, np.inf, np.inf)), drops, alpha=0.75)


def _paint_lights(easel: Easel) -> None:
    pitch = 0.14
    # Each halo has room in its cell.
    cells = _grid(easel, "lights", pitch, (0.008, 0.013), shift=0.22)
    tones = torch.from_numpy(LIGHTS).to(easel.canvas.pixels_BCHW.device)

    def paint(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        kind_BHW = (cells.look(x_11W, y_1H1).numbers_KBHW[4] * len(LIGHTS)).long()
        return tones[kind_BHW].permute(0, 3, 1, 2)

    def halo(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        look = cells.look(x_11W, y_1H1)
        shift_x, shift_y, size, chance, _ = look.numbers_KBHW
        away = torch.hypot(look.x_BHW - shift_x * pitch, look.y_BHW - shift_y * pitch)
        return torch.where(chance < 0.75, 0.75 * torch.exp(-((away / (2.0 * size)) ** 2)), 0.0)

    easel.canvas.wash(halo, paint)
    middle = _dots(cells, pitch, share=0.75)
    easel.canvas.draw(
        middle._replace(distance=lambda x, y: middle.distance(x, y) + 0.004),
        easel.plain("#fffdf2"),
        alpha=0.95,
    )


def _grid(easel: Easel, name: str, pitch: float, radius: tuple[float, float], *, shift: float = 0.3) -> Cells:
    """Cells with a shift each way, a radius, a chance to be empty and a kind."""
    rows, columns = int(1 / pitch) + 2, int(easel.aspect / pitch) + 2
    numbers = table(easel.seeds_B, name, kinds=5, rows=rows, columns=columns)
    return Cells(
        sizes(numbers, (-shift, shift), (-shift, shift), radius, (0, 1), (0, 0.999)),
        pitch=(pitch, pitch),
        left=-easel.numbers(name + " left", (0, pitch))[0],
    )


def _dots(cells: Cells, pitch: float, *, share: float) -> Shape:
    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        look = cells.look(x_11W, y_1H1)
        shift_x, shift_y, size, chance, _ = look.numbers_KBHW
        away = torch.hypot(look.x_BHW - shift_x * pitch, look.y_BHW - shift_y * pitch)
        return away - torch.where(chance < share, size, column(-1.0, x_11W))

    return Shape(distance, (-np.inf, -np.inf, np.inf, np.inf))


WEATHERS_PAINTED = {
    "snow": _paint_snow,
    "fog": _paint_fog,
    "rain": _paint_rain,
    "magical lights": _paint_lights,
}
