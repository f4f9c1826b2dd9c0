"""Where a scene's subject stands and how large it is; who stands is in figures.py, what is built in things.py."""

from typing import NamedTuple

import numpy as np

from demo_model.painter import characters, objects, palette
from demo_model.painter.scene_batch import Easel
from demo_model.painter.seeded_random import Numbers
from demo_model.painter.terrain import islet, leafy_tree, pond, shadow

# A subject stands in the middle, on the lines of a grid of so many to a picture's height: the model sees a picture in
# squares, and a figure that may be anywhere, in any size, would be as many figures to learn.
GRID = 16
FOOT, SIZE, LIFT = 14 / GRID, 8 / GRID, 10 / GRID
# The middle of each flying car, of width and height, and whether it is bound left (-1) or right (1).
CARS = ((0.20, 3 / GRID, 1.0), (0.50, 7 / GRID, -1.0), (0.80, 5 / GRID, 1.0))
CAR_SIZE = 4 / GRID


class Spot(NamedTuple):
    """The middle of a subject's foot, its height, and its bright and dark colours."""

    x: Numbers
    foot: Numbers
    size: Numbers
    bright: Numbers
    dark: Numbers


def paint_subject(easel: Easel) -> None:
    """Each scene's subject, if it has one."""
    for name, painted in SUBJECTS_PAINTED.items():
        for part in easel.by_figure().parts(subject=name):
            painted(part, _spot(part))


def _spot(easel: Easel) -> Spot:
    one = np.ones(easel.count, dtype=np.float32)
    bright, dark = (easel.staged(tones[easel.colour_B]) for tones in (palette.THINGS, palette.SHADES))
    return Spot(
        x=_on_grid(0.5 * easel.aspect) * one,
        foot=FOOT * one,
        size=_on_grid(SIZE * (0.25 + 0.75 * min(1.0, easel.aspect))) * one,
        bright=bright,
        dark=dark,
    )


def _paint_robot(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.34)
    characters.robot(easel, *spot)


def _paint_cat(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.32)
    characters.cat(easel, spot.x, spot.foot, spot.size * 0.92, spot.bright, spot.dark)


def _paint_person(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.22)
    characters.person(easel, *spot)


def _paint_house(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.55)
    objects.house(easel, *spot)


def _paint_tree(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.3)
    leaves = palette.THINGS[easel.colour_B]
    leafy_tree(easel, "great tree", spot.x, spot.foot, spot.size * 0.52, leaves=leaves)


def _paint_boat(easel: Easel, spot: Spot) -> None:
    is_ashore = 1 - np.asarray([scene.place == "ocean" for scene in easel.scenes], dtype=np.float32)
    foot = spot.foot - 0.07 * (1 - is_ashore) - 0.02 * is_ashore
    pond(easel, spot.x, foot + 0.01, spot.size * 0.72, is_ashore)
    objects.boat(easel, *spot._replace(foot=foot))


def _paint_balloon(easel: Easel, spot: Spot) -> None:
    objects.balloon(easel, *spot._replace(foot=np.full_like(spot.foot, LIFT)))


def _paint_cars(easel: Easel, spot: Spot) -> None:
    one = np.ones(easel.count, dtype=np.float32)
    size = _on_grid(CAR_SIZE * min(1.0, easel.aspect))
    for x, y, way in CARS:
        objects.car(
            easel, _on_grid(x * easel.aspect) * one, y * one, size * one, way * one, spot.bright, spot.dark
        )


def _on_grid(length: float) -> float:
    return round(length * GRID) / GRID


def _ground(easel: Easel, spot: Spot, *, wide: float) -> None:
    """What a subject stands on, and its shadow there."""
    for part in easel.parts(place="ocean"):
        at = _spot(part)
        islet(part, at.x, at.foot, at.size * wide * 1.5)
    shadow(easel, spot.x, spot.foot, spot.size * wide)


SUBJECTS_PAINTED = {
    "robot": _paint_robot,
    "house": _paint_house,
    "tree": _paint_tree,
    "boat": _paint_boat,
    "cat": _paint_cat,
    "balloon": _paint_balloon,
    "flying cars": _paint_cars,
    "person": _paint_person,
}
