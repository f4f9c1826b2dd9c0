"""Subjects: where they stand, and how large they are. `characters.py` and `objects.py` paint them."""

from typing import Final, NamedTuple

import numpy as np

from demo_model.painter import characters, objects, palette
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.terrain import paint_islet, paint_leafy_tree, paint_pond, paint_shadow

# A subject stands in the middle, on the lines of a grid that divides a picture's height. The model sees a picture in
# squares, so each other place or size of a subject would be one more thing to learn.
GRID_LINES: Final = 16
FOOT: Final = 14 / GRID_LINES
SIZE: Final = 8 / GRID_LINES
LIFT: Final = 10 / GRID_LINES
# Each car's middle is a share of the width and the height. It faces left (-1) or right (1).
CARS: Final = ((0.20, 3 / GRID_LINES, 1.0), (0.50, 7 / GRID_LINES, -1.0), (0.80, 5 / GRID_LINES, 1.0))
CAR_SIZE: Final = 4 / GRID_LINES


class Placement(NamedTuple):
    """The middle of a subject's foot, its height, and its bright and dark colours."""

    x: Floats
    foot: Floats
    size: Floats
    bright: Floats
    dark: Floats


def paint_subject(batch: SceneBatch) -> None:
    """Paint the subject of each scene that has one."""
    for name, paint_part in SUBJECT_PAINTERS.items():
        for part in batch.use_subject_seeds().select(subject=name):
            paint_part(part, _place_subject(part))


def _place_subject(batch: SceneBatch) -> Placement:
    one = np.ones(batch.count, dtype=np.float32)
    bright, dark = (batch.highlight(tones[batch.colour_B]) for tones in (palette.THINGS, palette.SHADES))
    return Placement(
        x=_round_to_grid(0.5 * batch.aspect) * one,
        foot=FOOT * one,
        size=_round_to_grid(SIZE * (0.25 + 0.75 * min(1.0, batch.aspect))) * one,
        bright=bright,
        dark=dark,
    )


def _paint_robot(batch: SceneBatch, placement: Placement) -> None:
    _paint_ground(batch, placement, wide=0.34)
    characters.paint_robot(batch, *placement)


def _paint_cat(batch: SceneBatch, placement: Placement) -> None:
    _paint_ground(batch, placement, wide=0.32)
    characters.paint_cat(
        batch, placement.x, placement.foot, placement.size * 0.92, placement.bright, placement.dark
    )


def _paint_person(batch: SceneBatch, placement: Placement) -> None:
    _paint_ground(batch, placement, wide=0.22)
    characters.paint_person(batch, *placement)


def _paint_house(batch: SceneBatch, placement: Placement) -> None:
    _paint_ground(batch, placement, wide=0.55)
    objects.paint_house(batch, *placement)


def _paint_tree(batch: SceneBatch, placement: Placement) -> None:
    _paint_ground(batch, placement, wide=0.3)
    leaves = palette.THINGS[batch.colour_B]
    paint_leafy_tree(batch, "great tree", placement.x, placement.foot, placement.size * 0.52, leaves=leaves)


def _paint_boat(batch: SceneBatch, placement: Placement) -> None:
    is_ashore = 1 - np.asarray([scene.place == "ocean" for scene in batch.scenes], dtype=np.float32)
    foot = placement.foot - 0.07 * (1 - is_ashore) - 0.02 * is_ashore
    paint_pond(batch, placement.x, foot + 0.01, placement.size * 0.72, is_ashore)
    objects.paint_boat(batch, *placement._replace(foot=foot))


def _paint_balloon(batch: SceneBatch, placement: Placement) -> None:
    objects.paint_balloon(batch, *placement._replace(foot=np.full_like(placement.foot, LIFT)))


def _paint_cars(batch: SceneBatch, placement: Placement) -> None:
    one = np.ones(batch.count, dtype=np.float32)
    size = _round_to_grid(CAR_SIZE * min(1.0, batch.aspect))
    for x, y, way in CARS:
        objects.paint_car(
            batch,
            _round_to_grid(x * batch.aspect) * one,
            y * one,
            size * one,
            way * one,
            placement.bright,
            placement.dark,
        )


def _round_to_grid(length: float) -> float:
    return round(length * GRID_LINES) / GRID_LINES


def _paint_ground(batch: SceneBatch, placement: Placement, *, wide: float) -> None:
    """Paint the ground under a subject, and the subject's shadow on it."""
    for part in batch.select(place="ocean"):
        at = _place_subject(part)
        paint_islet(part, at.x, at.foot, at.size * wide * 1.5)
    paint_shadow(batch, placement.x, placement.foot, placement.size * wide)


SUBJECT_PAINTERS: Final = {
    "robot": _paint_robot,
    "house": _paint_house,
    "tree": _paint_tree,
    "boat": _paint_boat,
    "cat": _paint_cat,
    "balloon": _paint_balloon,
    "flying cars": _paint_cars,
    "person": _paint_person,
}
