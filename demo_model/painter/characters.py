"""Who may stand in a scene: a robot, a cat, a person. Each by the middle of its foot and its height."""

import numpy as np

from demo_model.painter import palette
from demo_model.painter.canvas import Canvas, Paint, gradient
from demo_model.painter.scene_batch import Easel
from demo_model.painter.seeded_random import Numbers
from demo_model.painter.shapes import Shape, box, ellipse, polygon, stroke, union, within

SKINS = palette.colours("#f6d3b8", "#e3ab82", "#b97c54", "#7d4f36")
HAIRS = palette.colours("#3a2a24", "#7a4a2a", "#d9a648", "#8c2f2f")


def robot(easel: Easel, x: Numbers, foot: Numbers, size: Numbers, bright: Numbers, dark: Numbers) -> None:
    """Boxes with a lit face."""
    canvas, s, y = easel.canvas, size, foot
    metal = easel.lit("#5b6478")
    body = gradient(bright, dark, start=y - s, end=y + 0.15 * s)
    for side in (-1, 1):
        canvas.draw(_box(x + side * 0.11 * s, y - 0.10 * s, 0.075 * s, 0.12 * s, 0.03 * s), metal)
        canvas.draw(_box(x + side * 0.12 * s, y - 0.02 * s, 0.10 * s, 0.04 * s, 0.03 * s), dark)
        canvas.draw(_box(x + side * 0.315 * s, y - 0.34 * s, 0.055 * s, 0.15 * s, 0.05 * s), dark)
        canvas.draw(ellipse(x + side * 0.315 * s, y - 0.18 * s, 0.055 * s, 0.05 * s), metal)
    canvas.draw(_box(x, y - 0.36 * s, 0.25 * s, 0.20 * s, 0.06 * s), body)
    canvas.draw(
        _box(x, y - 0.36 * s, 0.13 * s, 0.09 * s, 0.03 * s), palette.mixed(bright, easel.lit("#ffffff"), 0.45)
    )
    canvas.draw(ellipse(x - 0.05 * s, y - 0.36 * s, 0.025 * s, 0.025 * s), easel.plain("#ff7a6b"))
    canvas.draw(ellipse(x + 0.05 * s, y - 0.36 * s, 0.025 * s, 0.025 * s), easel.plain("#ffe27a"))
    canvas.draw(_box(x, y - 0.58 * s, 0.07 * s, 0.04 * s, 0.0), metal)
    canvas.draw(stroke(x, y - 0.88 * s, x, y - 0.97 * s, 0.014 * s), metal)
    canvas.draw(ellipse(x, y - 0.99 * s, 0.038 * s, 0.038 * s), easel.plain("#ff7a6b"))
    canvas.draw(_box(x, y - 0.74 * s, 0.27 * s, 0.16 * s, 0.07 * s), body)
    canvas.draw(_box(x, y - 0.73 * s, 0.20 * s, 0.095 * s, 0.05 * s), easel.lit("#232b42"))
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.09 * s, y - 0.74 * s, 0.042 * s, 0.048 * s), easel.plain("#8ff3ff"))
        canvas.draw(_box(x + side * 0.285 * s, y - 0.74 * s, 0.025 * s, 0.06 * s, 0.02 * s), metal)


def cat(easel: Easel, x: Numbers, foot: Numbers, size: Numbers, bright: Numbers, dark: Numbers) -> None:
    """Sitting, with its tail to one side."""
    canvas, s, y = easel.canvas, size, foot
    fur = gradient(bright, palette.mixed(bright, dark, 0.6), start=y - s, end=y)
    tail = union(
        stroke(x + 0.20 * s, y - 0.06 * s, x + 0.42 * s, y - 0.08 * s, 0.05 * s),
        stroke(x + 0.42 * s, y - 0.08 * s, x + 0.47 * s, y - 0.26 * s, 0.05 * s),
        stroke(x + 0.47 * s, y - 0.26 * s, x + 0.38 * s, y - 0.36 * s, 0.045 * s),
    )
    canvas.draw(tail, dark)
    canvas.draw(ellipse(x, y - 0.26 * s, 0.25 * s, 0.27 * s), fur)
    canvas.draw(
        ellipse(x, y - 0.22 * s, 0.12 * s, 0.18 * s), palette.mixed(bright, easel.lit("#fff6ea"), 0.55)
    )
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.10 * s, y - 0.035 * s, 0.085 * s, 0.045 * s), bright)
        _ear(canvas, x + side * 0.17 * s, y - 0.80 * s, s, side=side, paint=dark, scale=1.0)
        _ear(canvas, x + side * 0.165 * s, y - 0.79 * s, s, side=side, paint=easel.lit("#f2a6a6"), scale=0.55)
    canvas.draw(ellipse(x, y - 0.65 * s, 0.27 * s, 0.22 * s), fur)
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.11 * s, y - 0.67 * s, 0.048 * s, 0.058 * s), easel.plain("#fdf3b0"))
        canvas.draw(ellipse(x + side * 0.11 * s, y - 0.67 * s, 0.020 * s, 0.050 * s), easel.plain("#20202c"))
        for drop in (0.0, 0.05):
            whisker = stroke(
                x + side * 0.10 * s, y - 0.575 * s, x + side * 0.31 * s, y - (0.60 - drop) * s, 0.006 * s
            )
            canvas.draw(whisker, easel.lit("#fff6ea"), alpha=0.8)
    nose = polygon((x - 0.03 * s, y - 0.60 * s), (x + 0.03 * s, y - 0.60 * s), (x, y - 0.56 * s))
    canvas.draw(nose, easel.lit("#f28a94"))


def person(easel: Easel, x: Numbers, foot: Numbers, size: Numbers, bright: Numbers, dark: Numbers) -> None:
    """Standing, seen from the front, in a coat of the scene's colour."""
    canvas, s, y = easel.canvas, size, foot
    skin_chance, hair_chance, has_long = easel.numbers("person", (0, 0.999), (0, 0.999), (0, 1))
    skin = easel.lit(palette.chosen(SKINS, skin_chance))
    hair = easel.lit(palette.chosen(HAIRS, hair_chance))
    is_long = (has_long < 0.5).astype(np.float32)
    trousers = easel.lit("#39415c")
    canvas.draw(ellipse(x, y - 0.78 * s, 0.155 * s, 0.19 * s), hair, alpha=is_long)
    for side in (-1, 1):
        canvas.draw(_box(x + side * 0.075 * s, y - 0.17 * s, 0.055 * s, 0.17 * s, 0.03 * s), trousers)
        canvas.draw(
            _box(x + side * 0.085 * s, y - 0.02 * s, 0.075 * s, 0.028 * s, 0.025 * s), easel.lit("#2a2430")
        )
        canvas.draw(
            stroke(x + side * 0.13 * s, y - 0.62 * s, x + side * 0.24 * s, y - 0.40 * s, 0.048 * s), dark
        )
        canvas.draw(ellipse(x + side * 0.25 * s, y - 0.37 * s, 0.042 * s, 0.045 * s), skin)
    coat = polygon(
        (x - 0.12 * s, y - 0.67 * s),
        (x + 0.12 * s, y - 0.67 * s),
        (x + 0.19 * s, y - 0.26 * s),
        (x - 0.19 * s, y - 0.26 * s),
    )
    cloth = gradient(bright, palette.mixed(bright, dark, 0.7), start=y - 0.68 * s, end=y - 0.25 * s)
    canvas.draw(union(coat, _box(x, y - 0.60 * s, 0.15 * s, 0.075 * s, 0.06 * s)), cloth)
    canvas.draw(_box(x, y - 0.43 * s, 0.155 * s, 0.018 * s, 0.0), dark)
    canvas.draw(_box(x, y - 0.685 * s, 0.04 * s, 0.04 * s, 0.02 * s), palette.mixed(skin, dark, 0.2))
    canvas.draw(ellipse(x, y - 0.80 * s, 0.12 * s, 0.13 * s), skin)
    fringe = within(ellipse(x, y - 0.83 * s, 0.135 * s, 0.125 * s), box(-1, -1, 3, y - 0.865 * s))
    canvas.draw(fringe, hair)
    for side in (-1, 1):
        canvas.draw(
            ellipse(x + side * 0.047 * s, y - 0.805 * s, 0.019 * s, 0.026 * s), easel.plain("#262233")
        )
        canvas.draw(
            ellipse(x + side * 0.07 * s, y - 0.755 * s, 0.022 * s, 0.014 * s), easel.lit("#f2948c"), alpha=0.6
        )
    smile = within(ellipse(x, y - 0.752 * s, 0.04 * s, 0.028 * s), box(-1, y - 0.752 * s, 3, 2))
    canvas.draw(smile, easel.lit("#c2564f"))


def _ear(
    canvas: Canvas, x: Numbers, y: Numbers, s: Numbers, *, side: int, paint: Paint, scale: float
) -> None:
    """A triangle that leans outward."""
    tip = (x + side * 0.03 * s, y - 0.13 * scale * s)
    left, right = (x - 0.10 * scale * s, y + 0.06 * s), (x + 0.10 * scale * s, y + 0.06 * s)
    canvas.draw(polygon(tip, right, left), paint)


def _box(
    x: Numbers, y: Numbers, half_width: Numbers, half_height: Numbers, round_by: Numbers | float
) -> Shape:
    return box(x - half_width, y - half_height, x + half_width, y + half_height, round_by)
