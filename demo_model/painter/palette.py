"""Colours of the light at each time of day, of the weather, and of things."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from demo_model.painter.seeded_random import Floats


def parse_colour(code: str) -> Floats:
    """Return a colour such as `#4080ff` as three numbers from 0 to 1."""
    return np.asarray([int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)], dtype=np.float32)


def parse_colours(*codes: str) -> Floats:
    """Return the colours as an array with one row for each."""
    return np.stack([parse_colour(code) for code in codes])


# The order is that of scene.TIMES. DISC is the sun or the moon, and LIGHT falls on things.
SKY_TOP: Final = parse_colours("#7d6cc4", "#2f86e0", "#8a96a8", "#431c63", "#0a0d30")
SKY_MIDDLE: Final = parse_colours("#c79ad8", "#6bb5f2", "#eab96c", "#c5345f", "#1d2560")
SKY_FOOT: Final = parse_colours("#fbcfc4", "#d3edfc", "#ffdf93", "#ffa24c", "#43488f")
DISC: Final = parse_colours("#ffe9b8", "#fff3bf", "#fff0a8", "#ffd563", "#f4efd4")
CLOUD: Final = parse_colours("#f2d3e2", "#ffffff", "#f2c98c", "#d9796c", "#36427f")
LIGHT: Final = parse_colours("#d9bfe0", "#ffffff", "#f6cf92", "#d08a80", "#5761a3")
# Distant things take on this colour of the sky.
HAZE: Final = parse_colours("#d8a9cf", "#bfe0f5", "#eec27f", "#cc5a61", "#2c3272")

# The order is that of scene.WEATHERS. The whole picture is mixed with GLOOM by GLOOM_SHARE.
GLOOM: Final = parse_colours("#808080", "#c9d4e4", "#c5c9ce", "#5a6272", "#808080", "#33185f")
GLOOM_SHARE: Final = np.asarray([0.0, 0.30, 0.35, 0.55, 0.0, 0.28], dtype=np.float32)

# The order is that of scene.COLOURS.
THINGS: Final = parse_colours(
    "#d94141", "#f08a2c", "#f4c836", "#4fae5b", "#3f78d8", "#8b57c4", "#f07fb0", "#f1ede4"
)
SHADES: Final = parse_colours(
    "#9c2531", "#b95a17", "#c8931f", "#2f7c47", "#284fa0", "#5d3796", "#c4557f", "#c3beb6"
)


def mix(one_B3: Floats, other_B3: Floats, share: float | Floats) -> Floats:
    """Mix two colours: `share` of the second one, and the rest of the first one."""
    part = np.asarray(share, dtype=np.float32).reshape(-1, 1)
    return (one_B3 * (1 - part) + other_B3 * part).astype(np.float32)


def choose(palette: Floats, chance_B: Floats) -> Floats:
    """Choose one of the palette's colours for each scene by a number in [0, 1)."""
    picked: Floats = palette[(chance_B * len(palette)).astype(int)]
    return picked


def find_indexes(words: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Return the index of each word among the known words."""
    return np.asarray([known.index(word) for word in words])
