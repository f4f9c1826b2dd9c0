"""Sky: its gradient, stars, sun or moon, clouds and rainbow."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.grid import Grid, draw_table, spread_table
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import Shape, box, ellipse, to_column, union, within, without

# A share of a picture's height. No place rises far above it, and no disc sinks below it.
HORIZON: Final = 0.56
# The sun or the moon stands between these heights. The order is that of scene.TIMES.
DISC_TOP: Final = np.asarray([0.34, 0.10, 0.20, 0.40, 0.10], dtype=np.float32)
DISC_BOTTOM: Final = np.asarray([0.46, 0.22, 0.34, 0.50, 0.24], dtype=np.float32)
BANDS: Final = ("#e8505b", "#f59a45", "#f7dc5a", "#5cc26e", "#4a90e0", "#8a5fd0")


def paint_sky(batch: SceneBatch) -> None:
    """Paint everything that is behind the place."""
    canvas = batch.canvas
    top, middle, foot = (
        batch.pick_by_time(tone) for tone in (palette.SKY_TOP, palette.SKY_MIDDLE, palette.SKY_FOOT)
    )
    everywhere = box(-1, -1, 3, 2)
    canvas.draw(everywhere, make_gradient(top, middle, start=0.0, end=0.34))
    canvas.draw(box(-1, 0.34, 3, 2), make_gradient(middle, foot, start=0.34, end=0.66))
    for part in batch.select(time="night"):
        _paint_stars(part)
    _paint_disc(batch)
    _paint_clouds(batch)
    for part in batch.select(weather="rainbow"):
        _paint_rainbow(part)


def place_disc(batch: SceneBatch) -> tuple[Floats, Floats, Floats]:
    """Return the place of the sun or the moon, x and y, and its radius."""
    side, height, size = batch.draw_numbers("disc", (0.14, 0.86), (0, 1), (0.045, 0.062))
    low, high = DISC_TOP[batch.time_B], DISC_BOTTOM[batch.time_B]
    return side * batch.aspect, low + height * (high - low), size + 0.02 * batch.is_time("sunset", "dawn")


def _paint_stars(batch: SceneBatch) -> None:
    numbers = spread_table(
        draw_table(batch.seeds_B, "stars", kinds=4, rows=9, columns=20),
        (-0.4, 0.4),
        (-0.4, 0.4),
        (0.0012, 0.0048),
        (0, 1),
    )
    pitch = 0.072
    grid = Grid(numbers, pitch=(pitch, pitch))

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        sample = grid.sample(x_11W, y_1H1)
        x, y, size, chance = sample.numbers_KBHW
        away = torch.hypot(sample.x_BHW - x * pitch, sample.y_BHW - y * pitch)
        return away - torch.where(chance < 0.55, size, -0.02)

    dim = 1 - 0.75 * batch.is_weather("fog", "rain", "snow")
    batch.canvas.draw(Shape(distance, (-np.inf, 0, np.inf, 0.62)), batch.repeat("#f5f0ff"), alpha=0.9 * dim)


def _paint_disc(batch: SceneBatch) -> None:
    canvas = batch.canvas
    x, y, radius = place_disc(batch)
    is_night = batch.is_time("night")
    veil = 1 - 0.55 * batch.is_weather("fog", "snow") - 0.7 * batch.is_weather("rain")
    colour = palette.DISC[batch.time_B]
    wide = 0.30 + 0.16 * batch.is_time("sunset", "golden hour", "dawn")
    canvas.glow(x, y, wide, colour, (0.55 - 0.30 * is_night) * veil)
    canvas.glow(x, y, radius * 2.6, colour, (0.6 - 0.25 * is_night) * veil)
    whole = ellipse(x, y, radius, radius)
    canvas.draw(whole, colour, alpha=(1 - is_night) * veil)
    crescent = without(whole, ellipse(x + 0.42 * radius, y - 0.22 * radius, radius * 0.82, radius * 0.82))
    canvas.draw(crescent, colour, alpha=is_night * veil)


def _paint_clouds(batch: SceneBatch) -> None:
    light = batch.pick_by_time(palette.CLOUD)
    shade = palette.mix(light, batch.pick_by_time(palette.SKY_MIDDLE), 0.45)
    grey = palette.mix(light, batch.light("#6b7280"), 0.75)
    is_wet = batch.is_weather("rain")[:, None]
    light, shade = light * (1 - is_wet) + grey * is_wet, shade * (1 - is_wet) + 0.9 * grey * is_wet
    for number in range(4):
        x, y, size, chance = batch.draw_numbers(f"cloud {number}", (0, 1), (0.04, 0.30), (0.07, 0.13), (0, 1))
        # The first two clouds are common. Wet weather has more clouds, and nights have few.
        likely = 0.62 - 0.14 * number + 0.5 * batch.is_weather("rain", "snow") - 0.25 * batch.is_time("night")
        alpha = (chance < likely) * (0.93 - 0.2 * batch.is_time("night"))
        cloud = _cloud(batch, f"puffs {number}", x * batch.aspect, y, size)
        batch.canvas.draw(
            cloud, make_gradient(light, shade, start=y - size * 0.8, end=y + size * 0.5), alpha=alpha
        )


def _cloud(batch: SceneBatch, name: str, x: Floats, y: Floats, size: Floats) -> Shape:
    """Return a cloud of puffs on a flat foot."""
    tall, left, right = batch.draw_numbers(name, (0.62, 0.85), (0.38, 0.58), (0.38, 0.58))
    puffs = union(
        ellipse(x, y - size * 0.18, size * 0.62, size * tall),
        ellipse(x - size * 0.72, y + size * 0.12, size * left, size * left),
        ellipse(x + size * 0.72, y + size * 0.10, size * right, size * right),
        box(x - size * 0.9, y, x + size * 0.9, y + size * 0.42, size * 0.2),
    )
    return within(puffs, box(x - 2 * size, y - 2 * size, x + 2 * size, y + size * 0.42))


def _paint_rainbow(batch: SceneBatch) -> None:
    side, height = batch.draw_numbers("rainbow", (0.38, 0.62), (0.60, 0.72))
    x, thick = side * batch.aspect, 0.021
    outer = 0.50 * np.minimum(1.0, batch.aspect) * np.ones_like(x)
    fade = 0.80 - 0.22 * batch.is_time("night")

    for number, code in enumerate(BANDS):
        radius = outer - thick * number

        def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor, radius: Floats = radius) -> torch.Tensor:
            away = torch.hypot(x_11W - to_column(x, x_11W), y_1H1 - to_column(height, x_11W))
            return (away - to_column(radius - thick / 2, x_11W)).abs() - thick / 2

        batch.canvas.draw(
            Shape(distance, (-np.inf, 0, np.inf, 0.75)), batch.repeat(code), alpha=fade * 0.85, soft=0.006
        )
