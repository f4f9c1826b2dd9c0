"""The sky: its gradient, stars, sun or moon, clouds, rainbow."""

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import gradient
from demo_model.painter.grid import Cells, sizes, table
from demo_model.painter.scene_batch import Easel
from demo_model.painter.seeded_random import Numbers
from demo_model.painter.shapes import Shape, box, column, ellipse, union, within, without

# Of a picture's height. No place's ground rises above it by much, and no disc sinks below it.
HORIZON = 0.56
# In the order of scene.TIMES: how high the sun or the moon stands.
DISC_TOP = np.asarray([0.34, 0.10, 0.20, 0.40, 0.10], dtype=np.float32)
DISC_BOTTOM = np.asarray([0.46, 0.22, 0.34, 0.50, 0.24], dtype=np.float32)
BANDS = ("#e8505b", "#f59a45", "#f7dc5a", "#5cc26e", "#4a90e0", "#8a5fd0")


def paint_sky(easel: Easel) -> None:
    """Everything that is behind the place."""
    canvas = easel.canvas
    top, middle, foot = (
        easel.by_time(tone) for tone in (palette.SKY_TOP, palette.SKY_MIDDLE, palette.SKY_FOOT)
    )
    everywhere = box(-1, -1, 3, 2)
    canvas.draw(everywhere, gradient(top, middle, start=0.0, end=0.34))
    canvas.draw(box(-1, 0.34, 3, 2), gradient(middle, foot, start=0.34, end=0.66))
    for part in easel.parts(time="night"):
        _paint_stars(part)
    _paint_disc(easel)
    _paint_clouds(easel)
    for part in easel.parts(weather="rainbow"):
        _paint_rainbow(part)


def disc_place(easel: Easel) -> tuple[Numbers, Numbers, Numbers]:
    """Where the sun or the moon stands, and its radius."""
    side, height, size = easel.numbers("disc", (0.14, 0.86), (0, 1), (0.045, 0.062))
    low, high = DISC_TOP[easel.time_B], DISC_BOTTOM[easel.time_B]
    return side * easel.aspect, low + height * (high - low), size + 0.02 * easel.is_time("sunset", "dawn")


def _paint_stars(easel: Easel) -> None:
    numbers = sizes(
        table(easel.seeds_B, "stars", kinds=4, rows=9, columns=20),
        (-0.4, 0.4),
        (-0.4, 0.4),
        (0.0012, 0.0048),
        (0, 1),
    )
    pitch = 0.072
    cells = Cells(numbers, pitch=(pitch, pitch))

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        look = cells.look(x_11W, y_1H1)
        x, y, size, chance = look.numbers_KBHW
        away = torch.hypot(look.x_BHW - x * pitch, look.y_BHW - y * pitch)
        return away - torch.where(chance < 0.55, size, -0.02)

    dim = 1 - 0.75 * easel.is_weather("fog", "rain", "snow")
    easel.canvas.draw(Shape(distance, (-np.inf, 0, np.inf, 0.62)), easel.plain("#f5f0ff"), alpha=0.9 * dim)


def _paint_disc(easel: Easel) -> None:
    canvas = easel.canvas
    x, y, radius = disc_place(easel)
    is_night = easel.is_time("night")
    veil = 1 - 0.55 * easel.is_weather("fog", "snow") - 0.7 * easel.is_weather("rain")
    colour = palette.DISC[easel.time_B]
    wide = 0.30 + 0.16 * easel.is_time("sunset", "golden hour", "dawn")
    canvas.glow(x, y, wide, colour, (0.55 - 0.30 * is_night) * veil)
    canvas.glow(x, y, radius * 2.6, colour, (0.6 - 0.25 * is_night) * veil)
    whole = ellipse(x, y, radius, radius)
    canvas.draw(whole, colour, alpha=(1 - is_night) * veil)
    crescent = without(whole, ellipse(x + 0.42 * radius, y - 0.22 * radius, radius * 0.82, radius * 0.82))
    canvas.draw(crescent, colour, alpha=is_night * veil)


def _paint_clouds(easel: Easel) -> None:
    light = easel.by_time(palette.CLOUD)
    shade = palette.mixed(light, easel.by_time(palette.SKY_MIDDLE), 0.45)
    grey = palette.mixed(light, easel.lit("#6b7280"), 0.75)
    is_wet = easel.is_weather("rain")[:, None]
    light, shade = light * (1 - is_wet) + grey * is_wet, shade * (1 - is_wet) + 0.9 * grey * is_wet
    for number in range(4):
        x, y, size, chance = easel.numbers(f"cloud {number}", (0, 1), (0.04, 0.30), (0.07, 0.13), (0, 1))
        # The first two are mostly there, more of them in wet weather, hardly any at night.
        likely = 0.62 - 0.14 * number + 0.5 * easel.is_weather("rain", "snow") - 0.25 * easel.is_time("night")
        alpha = (chance < likely) * (0.93 - 0.2 * easel.is_time("night"))
        cloud = _cloud(easel, f"puffs {number}", x * easel.aspect, y, size)
        easel.canvas.draw(
            cloud, gradient(light, shade, start=y - size * 0.8, end=y + size * 0.5), alpha=alpha
        )


def _cloud(easel: Easel, name: str, x: Numbers, y: Numbers, size: Numbers) -> Shape:
    """Puffs on a flat foot."""
    tall, left, right = easel.numbers(name, (0.62, 0.85), (0.38, 0.58), (0.38, 0.58))
    puffs = union(
        ellipse(x, y - size * 0.18, size * 0.62, size * tall),
        ellipse(x - size * 0.72, y + size * 0.12, size * left, size * left),
        ellipse(x + size * 0.72, y + size * 0.10, size * right, size * right),
        box(x - size * 0.9, y, x + size * 0.9, y + size * 0.42, size * 0.2),
    )
    return within(puffs, box(x - 2 * size, y - 2 * size, x + 2 * size, y + size * 0.42))


def _paint_rainbow(easel: Easel) -> None:
    side, height = easel.numbers("rainbow", (0.38, 0.62), (0.60, 0.72))
    x, thick = side * easel.aspect, 0.021
    outer = 0.50 * np.minimum(1.0, easel.aspect) * np.ones_like(x)
    fade = 0.80 - 0.22 * easel.is_time("night")

    for number, code in enumerate(BANDS):
        radius = outer - thick * number

        def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor, radius: Numbers = radius) -> torch.Tensor:
            away = torch.hypot(x_11W - column(x, x_11W), y_1H1 - column(height, x_11W))
            return (away - column(radius - thick / 2, x_11W)).abs() - thick / 2

        easel.canvas.draw(
            Shape(distance, (-np.inf, 0, np.inf, 0.75)), easel.plain(code), alpha=fade * 0.85, soft=0.006
        )
