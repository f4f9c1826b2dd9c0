"""Orders for the tests of the engines, and comparisons of the pictures that come back."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from workers.engine.interface import Engine, ImageOrder, make

SIDE = 256
RED, BLUE, GREEN = (Image.new("RGB", (128, 96), colour) for colour in ("red", "blue", "green"))
# Of 255: what rounding in another order may come to.
MOST_DIFFERENCE = 2


def order(
    prompt: str = "a fox",
    *,
    seed: int = 1,
    size: tuple[int, int] = (SIDE, SIDE),
    sources: Sequence[Image.Image] = (),
) -> ImageOrder:
    return ImageOrder(prompt=prompt, width=size[0], height=size[1], seed=seed, sources=tuple(sources))


def made(engine: Engine, *orders: ImageOrder) -> list[np.ndarray]:
    pictures = make(engine, orders, on_step=lambda _done, _steps: None)
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    return [picture.astype(int) for picture in pictures]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())
