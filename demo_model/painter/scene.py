"""What a picture shows, in words of the painter's own. The same scene and seed are the same picture."""

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

# What a subject is drawn in when no colour is asked for is one of these, so that a tree is mostly green.
USUAL_COLOURS: Final = {"tree": ("green", "pink", "orange", "green")}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The seed decides where everything lies, the figure what the subject looks like."""

    seed: int
    subject_seed: int
    time: str
    place: str
    weather: str
    subject: str
    colour: str


def draw_scenes(seeds: Sequence[int]) -> list[Scene]:
    """A scene drawn from each seed."""
    chances = draw_uniform(np.asarray(seeds, dtype=np.uint64), "scene", 6)
    return [_make_scene(seed, row.tolist()) for seed, row in zip(seeds, chances, strict=True)]


def _make_scene(seed: int, chances: list[float]) -> Scene:
    subject = _pick(SUBJECTS, chances[3])
    return Scene(
        seed=seed,
        subject_seed=seed,
        time=_pick(TIMES, chances[0]),
        place=_pick(PLACES, chances[1]),
        # Four in ten have no weather to speak of, as most prompts say none.
        weather="clear" if chances[5] < 0.3 else _pick(WEATHERS, chances[2]),
        subject=subject,
        colour=_pick(USUAL_COLOURS.get(subject, COLOURS), chances[4]),
    )


def _pick(words: Sequence[str], chance: float) -> str:
    return words[int(chance * len(words))]
