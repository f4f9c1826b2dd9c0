"""Where a scene's subject stands and how large it is; who stands is in figures.py, what is built in things.py."""

from typing import NamedTuple

import numpy as np

from demo_model.painter import figures, palette, things
from demo_model.painter.easel import Easel
from demo_model.painter.land import islet, leafy_tree, pond, shadow
from demo_model.painter.numbers import Numbers


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
    side, foot, size = easel.numbers("subject", (0.28, 0.72), (0.86, 0.92), (0.34, 0.44))
    narrow = min(1.0, easel.aspect)
    bright, dark = (easel.staged(tones[easel.colour_B]) for tones in (palette.THINGS, palette.SHADES))
    return Spot(side * easel.aspect, foot, size * (0.25 + 0.75 * narrow), bright, dark)


def _paint_robot(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.34)
    figures.robot(easel, *spot)


def _paint_cat(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.32)
    figures.cat(easel, spot.x, spot.foot, spot.size * 0.92, spot.bright, spot.dark)


def _paint_person(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.22)
    figures.person(easel, *spot)


def _paint_house(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.55)
    things.house(easel, *spot)


def _paint_tree(easel: Easel, spot: Spot) -> None:
    _ground(easel, spot, wide=0.3)
    leaves = palette.THINGS[easel.colour_B]
    leafy_tree(easel, "great tree", spot.x, spot.foot, spot.size * 0.52, leaves=leaves)


def _paint_boat(easel: Easel, spot: Spot) -> None:
    is_ashore = 1 - np.asarray([scene.place == "ocean" for scene in easel.scenes], dtype=np.float32)
    foot = spot.foot - 0.07 * (1 - is_ashore) - 0.02 * is_ashore
    pond(easel, spot.x, foot + 0.01, spot.size * 0.72, is_ashore)
    things.boat(easel, *spot._replace(foot=foot))


def _paint_balloon(easel: Easel, spot: Spot) -> None:
    [lift] = easel.numbers("balloon", (0.50, 0.62))
    things.balloon(easel, *spot._replace(foot=lift))


def _paint_cars(easel: Easel, spot: Spot) -> None:
    for number in range(3):
        side, height, size, chance, way = easel.numbers(
            f"car {number}", (0.0, 0.22), (0.0, 0.06), (0.15, 0.21), (0, 1), (-1, 1)
        )
        x = (0.14 + 0.27 * number + side) * easel.aspect
        y = 0.18 + 0.13 * ((number * 2) % 3) + height
        shown = (chance < (1.0 if number < 2 else 0.6)).astype(np.float32)
        things.car(
            easel,
            x,
            y,
            size * min(1.0, easel.aspect),
            np.where(way > 0, 1.0, -1.0).astype(np.float32),
            spot.bright,
            spot.dark,
            alpha=shown,
        )


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
