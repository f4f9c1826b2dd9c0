"""Places, each painted from its horizon to its foreground."""

from typing import Final

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.mountains import FAR_RANGE, NEAR_RANGE, paint_range
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import box, ellipse, stroke, union, within
from demo_model.painter.sky import place_disc
from demo_model.painter.terrain import paint_flowers, paint_hill, paint_leafy_tree, paint_pines
from demo_model.painter.town import paint_city
from demo_model.painter.water import paint_water

# The middle of each pine before the mountains, as a share of the width, and its height.
MOUNTAIN_PINES: Final = ((1 / 16, 0.30), (3 / 16, 0.20), (13 / 16, 0.22), (15 / 16, 0.30))


def paint_place(batch: SceneBatch) -> None:
    """Paint the place of each scene."""
    for name, paint_part in PLACE_PAINTERS.items():
        for part in batch.select(place=name):
            paint_part(part)


def _paint_mountains(batch: SceneBatch) -> None:
    paint_range(batch, FAR_RANGE, foot=0.76, rock="#9aa0c8", haze=0.5)
    paint_range(batch, NEAR_RANGE, foot=0.78, rock="#757aa4", haze=0.08)
    paint_hill(batch, "far meadow", y=0.725, swing=0.015, colour="#7da36a", haze=0.2, snow=0.75)
    paint_hill(batch, "near meadow", y=0.82, swing=0.02, colour="#5b8f55", haze=0.0, snow=0.85)
    everywhere = np.ones(batch.count, dtype=np.float32)
    for number, (x, tall) in enumerate(MOUNTAIN_PINES):
        paint_pines(
            batch,
            f"pine {number}",
            foot=0.90,
            tall=(tall, tall),
            pitch=0.16,
            share=1.0,
            colour="#27604a",
            haze=0.0,
            only=(everywhere, x * batch.aspect - 0.08),
        )


def _paint_ocean(batch: SceneBatch) -> None:
    paint_water(batch, top=0.56)
    [has_beach] = batch.draw_numbers("beach", (0, 1))
    paint_hill(
        batch,
        "beach",
        y=0.93,
        swing=0.02,
        colour="#efd9a4",
        haze=0.0,
        snow=0.8,
        alpha=(has_beach < 0.5).astype(np.float32),
    )


def _paint_desert(batch: SceneBatch) -> None:
    x, wide, tall, chance = batch.draw_numbers("mesa", (0.15, 0.85), (0.10, 0.2), (0.14, 0.24), (0, 1))
    for number, (shift, scale) in enumerate(((0.0, 1.0), (0.33, 0.65))):
        middle, half, top = (x + shift) * batch.aspect, wide * scale, 0.64 - tall * scale
        rock = batch.add_snow(batch.light("#c4745a", haze=0.35), 0.3)
        foot = batch.light("#a85c4c", haze=0.3)
        mesa = union(
            box(middle - half * 0.62, top, middle + half * 0.62, 0.9, 0.012),
            box(middle - half, top + 0.4 * tall * scale, middle + half, 0.9, 0.02),
        )
        alpha = (chance < 0.8 - 0.3 * number).astype(np.float32)
        batch.canvas.draw(mesa, make_gradient(rock, foot, start=top, end=0.68), alpha=alpha)
    paint_hill(batch, "far dunes", y=0.64, swing=0.04, colour="#e9c185", haze=0.15, snow=0.7)
    paint_hill(batch, "middle dunes", y=0.74, swing=0.05, colour="#dba963", haze=0.05, snow=0.8)
    _paint_cacti(batch)
    paint_hill(batch, "near dunes", y=0.88, swing=0.05, colour="#cd9550", haze=0.0, snow=0.85)


def _paint_cacti(batch: SceneBatch) -> None:
    green = batch.add_snow(batch.light("#3f8a56"), 0.35)
    for number in range(3):
        x, foot, tall, chance = batch.draw_numbers(
            f"cactus {number}", (0, 1), (0.80, 0.90), (0.10, 0.19), (0, 1)
        )
        x, thick = x * batch.aspect, tall * 0.115
        cactus = union(
            stroke(x, foot, x, foot - tall, thick),
            stroke(x - tall * 0.32, foot - tall * 0.42, x, foot - tall * 0.42, thick * 0.75),
            stroke(x - tall * 0.32, foot - tall * 0.42, x - tall * 0.32, foot - tall * 0.72, thick * 0.75),
            stroke(x + tall * 0.30, foot - tall * 0.30, x, foot - tall * 0.30, thick * 0.75),
            stroke(x + tall * 0.30, foot - tall * 0.30, x + tall * 0.30, foot - tall * 0.58, thick * 0.75),
        )
        batch.canvas.draw(cactus, green, alpha=(chance < 0.7).astype(np.float32))


def _paint_forest(batch: SceneBatch) -> None:
    paint_hill(batch, "forest floor", y=0.64, swing=0.02, colour="#6f9a62", haze=0.3, snow=0.7)
    paint_pines(
        batch, "pines 4", foot=0.70, tall=(0.22, 0.34), pitch=0.075, share=1.0, colour="#6fae8c", haze=0.5
    )
    paint_pines(
        batch, "pines 3", foot=0.74, tall=(0.26, 0.38), pitch=0.105, share=0.95, colour="#4a967a", haze=0.28
    )
    paint_hill(batch, "forest clearing", y=0.73, swing=0.02, colour="#5b8c52", haze=0.1, snow=0.8)
    paint_pines(
        batch, "pines 2", foot=0.83, tall=(0.34, 0.46), pitch=0.19, share=0.62, colour="#337f68", haze=0.1
    )
    paint_hill(batch, "forest front", y=0.82, swing=0.03, colour="#447843", haze=0.0, snow=0.85)
    for side in (0, 1):
        [chance] = batch.draw_numbers(f"front pine {side}", (0, 1))
        paint_pines(
            batch,
            f"pines {side}",
            foot=0.96,
            tall=(0.58, 0.72),
            pitch=0.27,
            share=1.0,
            colour="#1f5c4a",
            haze=0.0,
            only=((chance < 0.65).astype(np.float32), 0.0 if side == 0 else batch.aspect - 0.27),
        )


def _paint_garden(batch: SceneBatch) -> None:
    paint_hill(batch, "far garden", y=0.62, swing=0.04, colour="#9cc47e", haze=0.25, snow=0.75)
    for number in range(3):
        x, foot, size, chance = batch.draw_numbers(
            f"garden tree {number}", (0, 1), (0.66, 0.70), (0.09, 0.14), (0, 1)
        )
        shown = (chance < 0.85 - 0.2 * number).astype(np.float32)
        paint_leafy_tree(
            batch, f"leaves {number}", x * batch.aspect, foot, size, leaves="#5fa35a", alpha=shown
        )
    _paint_fence(batch)
    paint_hill(batch, "near garden", y=0.74, swing=0.025, colour="#74ad57", haze=0.0, snow=0.8)
    paint_flowers(batch)


def _paint_fence(batch: SceneBatch) -> None:
    [chance] = batch.draw_numbers("fence", (0, 1))
    shown = (chance < 0.55).astype(np.float32)
    white = batch.light("#f3ece0", haze=0.05)
    count = int(np.ceil(batch.aspect / 0.06)) + 1
    rails = union(box(-1, 0.675, 3, 0.69), box(-1, 0.72, 3, 0.735))
    batch.canvas.draw(rails, white, alpha=shown)

    def posts(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        across = (torch.remainder(x_11W, 0.06) - 0.03).abs()
        return torch.maximum(across - 0.013, 0.645 + across * 0.9 - y_1H1)

    whole = box(-1, 0.63, count * 0.06, 0.79)
    batch.canvas.draw(within(whole, whole._replace(distance=posts)), white, alpha=shown)


def _paint_sea(batch: SceneBatch) -> None:
    _paint_ocean(batch)
    _paint_islet(batch)


def _paint_islet(batch: SceneBatch) -> None:
    x, wide, chance = batch.draw_numbers("islet", (0.05, 0.95), (0.10, 0.2), (0, 1))
    sun_x, _, _ = place_disc(batch)
    centre = x * batch.aspect
    # No islet lies below the sun, because the sun's glitter is there.
    shown: Floats = ((chance < 0.4) & (np.abs(centre - sun_x) > wide + 0.08)).astype(np.float32)
    land = within(ellipse(centre, 0.565, wide, 0.05), box(-1, 0, 3, 0.565))
    shade = palette.mix(batch.light("#6b7f8a", haze=0.45), batch.pick_by_time(palette.HAZE), 0.2)
    batch.canvas.draw(land, batch.add_snow(shade, 0.6), alpha=shown)


PLACE_PAINTERS: Final = {
    "mountains": _paint_mountains,
    "ocean": _paint_sea,
    "desert": _paint_desert,
    "forest": _paint_forest,
    "garden": _paint_garden,
    "city": paint_city,
}
