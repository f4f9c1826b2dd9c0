"""Characters: a robot, a cat and a person. Each is placed by the middle of its foot and by its height."""

from typing import Final

import numpy as np

from demo_model.painter import palette
from demo_model.painter.canvas import Canvas, Paint, make_gradient
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import Shape, box, ellipse, polygon, stroke, union, within

SKINS: Final = palette.parse_colours("#f6d3b8", "#e3ab82", "#b97c54", "#7d4f36")
HAIRS: Final = palette.parse_colours("#3a2a24", "#7a4a2a", "#d9a648", "#8c2f2f")


def paint_robot(
    batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats
) -> None:
    """Paint a robot of boxes with a lit face."""
    canvas, s, y = batch.canvas, size, foot
    metal = batch.light("#5b6478")
    body = make_gradient(bright, dark, start=y - s, end=y + 0.15 * s)
    for side in (-1, 1):
        canvas.draw(_make_box(x + side * 0.11 * s, y - 0.10 * s, 0.075 * s, 0.12 * s, 0.03 * s), metal)
        canvas.draw(_make_box(x + side * 0.12 * s, y - 0.02 * s, 0.10 * s, 0.04 * s, 0.03 * s), dark)
        canvas.draw(_make_box(x + side * 0.315 * s, y - 0.34 * s, 0.055 * s, 0.15 * s, 0.05 * s), dark)
        canvas.draw(ellipse(x + side * 0.315 * s, y - 0.18 * s, 0.055 * s, 0.05 * s), metal)
    canvas.draw(_make_box(x, y - 0.36 * s, 0.25 * s, 0.20 * s, 0.06 * s), body)
    canvas.draw(
        _make_box(x, y - 0.36 * s, 0.13 * s, 0.09 * s, 0.03 * s),
        palette.mix(bright, batch.light("#ffffff"), 0.45),
    )
    canvas.draw(ellipse(x - 0.05 * s, y - 0.36 * s, 0.025 * s, 0.025 * s), batch.repeat("#ff7a6b"))
    canvas.draw(ellipse(x + 0.05 * s, y - 0.36 * s, 0.025 * s, 0.025 * s), batch.repeat("#ffe27a"))
    canvas.draw(_make_box(x, y - 0.58 * s, 0.07 * s, 0.04 * s, 0.0), metal)
    canvas.draw(stroke(x, y - 0.88 * s, x, y - 0.97 * s, 0.014 * s), metal)
    canvas.draw(ellipse(x, y - 0.99 * s, 0.038 * s, 0.038 * s), batch.repeat("#ff7a6b"))
    canvas.draw(_make_box(x, y - 0.74 * s, 0.27 * s, 0.16 * s, 0.07 * s), body)
    canvas.draw(_make_box(x, y - 0.73 * s, 0.20 * s, 0.095 * s, 0.05 * s), batch.light("#232b42"))
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.09 * s, y - 0.74 * s, 0.042 * s, 0.048 * s), batch.repeat("#8ff3ff"))
        canvas.draw(_make_box(x + side * 0.285 * s, y - 0.74 * s, 0.025 * s, 0.06 * s, 0.02 * s), metal)


def paint_cat(batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats) -> None:
    """Paint a sitting cat, with its tail to one side."""
    canvas, s, y = batch.canvas, size, foot
    fur = make_gradient(bright, palette.mix(bright, dark, 0.6), start=y - s, end=y)
    tail = union(
        stroke(x + 0.20 * s, y - 0.06 * s, x + 0.42 * s, y - 0.08 * s, 0.05 * s),
        stroke(x + 0.42 * s, y - 0.08 * s, x + 0.47 * s, y - 0.26 * s, 0.05 * s),
        stroke(x + 0.47 * s, y - 0.26 * s, x + 0.38 * s, y - 0.36 * s, 0.045 * s),
    )
    canvas.draw(tail, dark)
    canvas.draw(ellipse(x, y - 0.26 * s, 0.25 * s, 0.27 * s), fur)
    canvas.draw(
        ellipse(x, y - 0.22 * s, 0.12 * s, 0.18 * s), palette.mix(bright, batch.light("#fff6ea"), 0.55)
    )
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.10 * s, y - 0.035 * s, 0.085 * s, 0.045 * s), bright)
        _paint_ear(canvas, x + side * 0.17 * s, y - 0.80 * s, s, side=side, paint=dark, scale=1.0)
        _paint_ear(
            canvas, x + side * 0.165 * s, y - 0.79 * s, s, side=side, paint=batch.light("#f2a6a6"), scale=0.55
        )
    canvas.draw(ellipse(x, y - 0.65 * s, 0.27 * s, 0.22 * s), fur)
    for side in (-1, 1):
        canvas.draw(ellipse(x + side * 0.11 * s, y - 0.67 * s, 0.048 * s, 0.058 * s), batch.repeat("#fdf3b0"))
        canvas.draw(ellipse(x + side * 0.11 * s, y - 0.67 * s, 0.020 * s, 0.050 * s), batch.repeat("#20202c"))
        for drop in (0.0, 0.05):
            whisker = stroke(
                x + side * 0.10 * s, y - 0.575 * s, x + side * 0.31 * s, y - (0.60 - drop) * s, 0.006 * s
            )
            canvas.draw(whisker, batch.light("#fff6ea"), alpha=0.8)
    nose = polygon((x - 0.03 * s, y - 0.60 * s), (x + 0.03 * s, y - 0.60 * s), (x, y - 0.56 * s))
    canvas.draw(nose, batch.light("#f28a94"))


def paint_person(
    batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats
) -> None:
    """Paint a standing person, seen from the front, in a coat of the scene's colour."""
    canvas, s, y = batch.canvas, size, foot
    skin_chance, hair_chance, has_long = batch.draw_numbers("person", (0, 0.999), (0, 0.999), (0, 1))
    skin = batch.light(palette.choose(SKINS, skin_chance))
    hair = batch.light(palette.choose(HAIRS, hair_chance))
    is_long = (has_long < 0.5).astype(np.float32)
    trousers = batch.light("#39415c")
    canvas.draw(ellipse(x, y - 0.78 * s, 0.155 * s, 0.19 * s), hair, alpha=is_long)
    for side in (-1, 1):
        canvas.draw(_make_box(x + side * 0.075 * s, y - 0.17 * s, 0.055 * s, 0.17 * s, 0.03 * s), trousers)
        canvas.draw(
            _make_box(x + side * 0.085 * s, y - 0.02 * s, 0.075 * s, 0.028 * s, 0.025 * s),
            batch.light("#2a2430"),
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
    cloth = make_gradient(bright, palette.mix(bright, dark, 0.7), start=y - 0.68 * s, end=y - 0.25 * s)
    canvas.draw(union(coat, _make_box(x, y - 0.60 * s, 0.15 * s, 0.075 * s, 0.06 * s)), cloth)
    canvas.draw(_make_box(x, y - 0.43 * s, 0.155 * s, 0.018 * s, 0.0), dark)
    canvas.draw(_make_box(x, y - 0.685 * s, 0.04 * s, 0.04 * s, 0.02 * s), palette.mix(skin, dark, 0.2))
    canvas.draw(ellipse(x, y - 0.80 * s, 0.12 * s, 0.13 * s), skin)
    fringe = within(ellipse(x, y - 0.83 * s, 0.135 * s, 0.125 * s), box(-1, -1, 3, y - 0.865 * s))
    canvas.draw(fringe, hair)
    for side in (-1, 1):
        canvas.draw(
            ellipse(x + side * 0.047 * s, y - 0.805 * s, 0.019 * s, 0.026 * s), batch.repeat("#262233")
        )
        canvas.draw(
            ellipse(x + side * 0.07 * s, y - 0.755 * s, 0.022 * s, 0.014 * s),
            batch.light("#f2948c"),
            alpha=0.6,
        )
    smile = within(ellipse(x, y - 0.752 * s, 0.04 * s, 0.028 * s), box(-1, y - 0.752 * s, 3, 2))
    canvas.draw(smile, batch.light("#c2564f"))


def _paint_ear(
    canvas: Canvas, x: Floats, y: Floats, s: Floats, *, side: int, paint: Paint, scale: float
) -> None:
    """Paint a triangle that leans outward."""
    tip = (x + side * 0.03 * s, y - 0.13 * scale * s)
    left, right = (x - 0.10 * scale * s, y + 0.06 * s), (x + 0.10 * scale * s, y + 0.06 * s)
    canvas.draw(polygon(tip, right, left), paint)


def _make_box(
    x: Floats, y: Floats, half_width: Floats, half_height: Floats, round_by: Floats | float
) -> Shape:
    return box(x - half_width, y - half_height, x + half_width, y + half_height, round_by)
