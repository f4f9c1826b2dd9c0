"""Scenes: the attributes of a picture in the painter's own words. Equal scenes give equal pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from demo_model.painter.seeded_random import draw_uniform

TIMES: Final = ("dawn", "noon", "golden hour", "sunset", "night")
PLACES: Final = ("mountains", "ocean", "desert", "forest", "garden", "city")
WEATHERS: Final = ("clear", "snow", "fog", "rain", "rainbow", "magical lights")
SUBJECTS: Final = ("none", "robot", "house", "tree", "boat", "cat", "balloon", "flying cars", "person")
COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
ATTRIBUTES: Final = {
    "time": TIMES,
    "place": PLACES,
    "weather": WEATHERS,
    "subject": SUBJECTS,
    "colour": COLOURS,
}

# Some subjects have usual colours of their own: most trees are green.
USUAL_COLOURS: Final = {"tree": ("green", "pink", "orange", "green")}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The attributes of a picture. `seed` decides the layout, and `subject_seed` the subject's look."""

    seed: int
    subject_seed: int
    time: str
    place: str
    weather: str
    subject: str
    colour: str


def draw_scenes(seeds: Sequence[int]) -> list[Scene]:
    """Draw a scene from each seed."""
    chances = draw_uniform(np.asarray(seeds, dtype=np.uint64), "scene", 6)
    return [_make_scene(seed, row.tolist()) for seed, row in zip(seeds, chances, strict=True)]


def _make_scene(seed: int, chances: list[float]) -> Scene:
    subject = _pick(SUBJECTS, chances[3])
    return Scene(
        seed=seed,
        subject_seed=seed,
        time=_pick(TIMES, chances[0]),
        place=_pick(PLACES, chances[1]),
        # About four scenes in ten are clear, because most prompts state no weather.
        weather="clear" if chances[5] < 0.3 else _pick(WEATHERS, chances[2]),
        subject=subject,
        colour=_pick(USUAL_COLOURS.get(subject, COLOURS), chances[4]),
    )


def _pick(words: Sequence[str], chance: float) -> str:
    return words[int(chance * len(words))]
