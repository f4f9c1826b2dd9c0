"""Objects that people make: a house, a boat, a balloon and flying cars."""

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import Shape, box, ellipse, polygon, stroke, to_column, union, within


def paint_house(
    batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats
) -> None:
    """Paint a house: walls of the scene's colour, a roof, a chimney, two windows and a door."""
    canvas, s, y = batch.canvas, size * 0.95, foot
    is_dark = batch.is_time("night", "sunset", "dawn")
    eaves, half = y - 0.46 * s, 0.40 * s
    roof = batch.add_snow(palette.mix(dark, batch.light("#4a2b35"), 0.55), 0.85)
    canvas.draw(box(x + 0.18 * s, y - 0.90 * s, x + 0.28 * s, eaves), batch.light("#8a5a4e"))
    canvas.draw(
        box(x + 0.165 * s, y - 0.92 * s, x + 0.295 * s, y - 0.88 * s),
        batch.add_snow(batch.light("#6e443d"), 0.9),
    )
    canvas.draw(
        box(x - half, eaves - 0.02 * s, x + half, y),
        make_gradient(bright, dark, start=eaves, end=y + 0.4 * s),
    )
    ridge = polygon((x, y - 0.88 * s), (x + 0.50 * s, eaves + 0.02 * s), (x - 0.50 * s, eaves + 0.02 * s))
    canvas.draw(ridge, roof)
    canvas.draw(ellipse(x, y - 0.58 * s, 0.06 * s, 0.06 * s), batch.light("#f6e7c8"))
    pane = palette.mix(batch.light("#a9d4e8"), batch.repeat("#ffe07a"), 0.2 + 0.8 * is_dark)
    frame = batch.light("#f6efe2")
    for side in (-1, 1):
        wx = x + side * 0.24 * s
        canvas.draw(box(wx - 0.085 * s, y - 0.35 * s, wx + 0.085 * s, y - 0.17 * s), frame)
        canvas.draw(box(wx - 0.065 * s, y - 0.33 * s, wx + 0.065 * s, y - 0.19 * s), pane)
        canvas.draw(box(wx - 0.006 * s, y - 0.33 * s, wx + 0.006 * s, y - 0.19 * s), frame)
        canvas.glow(wx, y - 0.26 * s, 0.16 * s, batch.repeat("#ffd97a"), 0.35 * is_dark)
    canvas.draw(box(x - 0.075 * s, y - 0.28 * s, x + 0.075 * s, y, 0.02 * s), batch.light("#5c3a32"))
    canvas.draw(ellipse(x + 0.045 * s, y - 0.13 * s, 0.013 * s, 0.013 * s), batch.light("#f4cf6a"))


def paint_boat(
    batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats
) -> None:
    """Paint a sailing boat. Its foot is the waterline."""
    canvas, s, y = batch.canvas, size, foot
    canvas.draw(
        stroke(x - 0.02 * s, y - 0.15 * s, x - 0.02 * s, y - 0.95 * s, 0.014 * s), batch.light("#7a4f35")
    )
    sail, shade = batch.light("#fbf4e4"), batch.light("#d9cfc0")
    canvas.draw(
        polygon((x + 0.01 * s, y - 0.93 * s), (x + 0.38 * s, y - 0.24 * s), (x + 0.01 * s, y - 0.24 * s)),
        make_gradient(sail, shade, start=y - 0.93 * s, end=y - 0.2 * s),
    )
    canvas.draw(
        polygon((x - 0.05 * s, y - 0.82 * s), (x - 0.05 * s, y - 0.24 * s), (x - 0.30 * s, y - 0.24 * s)),
        bright,
    )
    canvas.draw(
        polygon((x - 0.02 * s, y - 0.99 * s), (x + 0.13 * s, y - 0.96 * s), (x - 0.02 * s, y - 0.93 * s)),
        bright,
    )
    hull = polygon(
        (x - 0.46 * s, y - 0.20 * s),
        (x + 0.48 * s, y - 0.20 * s),
        (x + 0.32 * s, y + 0.02 * s),
        (x - 0.32 * s, y + 0.02 * s),
    )
    canvas.draw(hull, make_gradient(bright, dark, start=y - 0.2 * s, end=y + 0.04 * s))
    canvas.draw(box(x - 0.46 * s, y - 0.21 * s, x + 0.48 * s, y - 0.17 * s, 0.01 * s), batch.light("#fbf4e4"))
    foam = palette.mix(batch.pick_by_time(palette.SKY_FOOT), batch.light("#ffffff"), 0.5)
    canvas.draw(box(x - 0.44 * s, y + 0.01 * s, x + 0.44 * s, y + 0.035 * s, 0.012 * s), foam, alpha=0.8)


def paint_balloon(
    batch: SceneBatch, x: Floats, foot: Floats, size: Floats, bright: Floats, dark: Floats
) -> None:
    """Paint a striped hot-air balloon. Its foot is the bottom of the basket."""
    canvas, s, y = batch.canvas, size * 1.05, foot
    middle, wide, tall = y - 0.62 * s, 0.34 * s, 0.38 * s
    skirt = polygon(
        (x - 0.29 * s, middle + 0.20 * s),
        (x + 0.29 * s, middle + 0.20 * s),
        (x + 0.075 * s, y - 0.14 * s),
        (x - 0.075 * s, y - 0.14 * s),
    )
    envelope = union(ellipse(x, middle, wide, tall), skirt)
    canvas.draw(envelope, make_gradient(bright, dark, start=middle - tall, end=y))
    stripe = palette.mix(bright, batch.light("#fff3c4"), 0.72)
    for out in (0.0, 0.52):
        canvas.draw(within(envelope, _stripe(x, middle, wide, tall * 1.2, out=out)), stripe)
    for side in (-1, 1):
        canvas.draw(
            stroke(x + side * 0.06 * s, y - 0.15 * s, x + side * 0.05 * s, y - 0.08 * s, 0.006 * s), dark
        )
    basket = box(x - 0.07 * s, y - 0.10 * s, x + 0.07 * s, y, 0.015 * s)
    canvas.draw(basket, batch.light("#8a5a35"))
    canvas.draw(box(x - 0.08 * s, y - 0.11 * s, x + 0.08 * s, y - 0.08 * s, 0.01 * s), batch.light("#6b4228"))
    canvas.glow(x, y - 0.2 * s, 0.14 * s, batch.repeat("#ffd27a"), 0.5 * batch.is_time("night"))


def _stripe(x: Floats, y: Floats, wide: Floats, tall: Floats, *, out: float) -> Shape:
    """Return the middle stripe of a balloon, or with `out` the pair beside it, curved like the envelope."""

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        down = ((y_1H1 - to_column(y, x_11W)) / to_column(tall, x_11W)).clamp(-1, 1)
        across = (x_11W - to_column(x, x_11W)).abs() / to_column(wide, x_11W)
        at = across / torch.sqrt(1 - down**2).clamp_min(0.15)
        return ((at - out).abs() - 0.14) * to_column(wide, x_11W) * 0.8

    return Shape(distance, (-np.inf, -np.inf, np.inf, np.inf))


def paint_car(
    batch: SceneBatch,
    x: Floats,
    y: Floats,
    size: Floats,
    way: Floats,
    bright: Floats,
    dark: Floats,
) -> None:
    """Paint a flying car of length `size` on two pads of light. It faces left (-1) or right (1)."""
    canvas, s = batch.canvas, size
    glow = batch.repeat("#7ff0ff")
    for side in (-1, 1):
        pad_x, pad_y = x + side * 0.27 * s, y + 0.17 * s
        canvas.glow(pad_x, pad_y + 0.04 * s, 0.26 * s, glow, 0.55)
        canvas.draw(ellipse(pad_x, pad_y, 0.13 * s, 0.04 * s), glow)
    cabin = within(ellipse(x - way * 0.04 * s, y - 0.02 * s, 0.30 * s, 0.26 * s), box(-1, -1, 3, y))
    canvas.draw(cabin, batch.light("#bfe9f5"))
    canvas.draw(within(cabin, box(x - 0.05 * s, -1, x - 0.02 * s, 2)), dark)
    body = box(x - 0.5 * s, y - 0.05 * s, x + 0.5 * s, y + 0.14 * s, 0.09 * s)
    canvas.draw(body, make_gradient(bright, dark, start=y - 0.05 * s, end=y + 0.16 * s))
    canvas.draw(ellipse(x + way * 0.46 * s, y + 0.03 * s, 0.045 * s, 0.04 * s), batch.repeat("#fff3b0"))
    canvas.draw(ellipse(x - way * 0.47 * s, y + 0.03 * s, 0.03 * s, 0.04 * s), batch.repeat("#ff5b5b"))
