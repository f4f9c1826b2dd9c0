"""Orders for the small pipelines, and the pictures that engines make of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from workers.engine.batcher import Batcher
from workers.engine.interface import Engine, ImageOrder, Picture, StepCallback

SIDE = 256
RED, BLUE, GREEN = (Image.new("RGB", (128, 96), colour) for colour in ("red", "blue", "green"))
# Of 255. Rounding in another order comes to no more.
MAX_DIFFERENCE = 2


def make_order(
    prompt: str = "a fox",
    *,
    seed: int = 1,
    size: tuple[int, int] = (SIDE, SIDE),
    sources: Sequence[Image.Image] = (),
) -> ImageOrder:
    """Return an order of this size in pixels, width first."""
    return ImageOrder(prompt=prompt, width=size[0], height=size[1], seed=seed, sources=tuple(sources))


def run_stages(engine: Engine, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Picture]:
    """Run one batch through the three stages, one after the other."""
    return engine.decode(engine.denoise(engine.prepare(orders), on_step=on_step))


def make_pictures(engine: Engine, *orders: ImageOrder) -> list[np.ndarray]:
    """Make the orders as one batch, and return the pictures with signed values."""
    pictures = run_stages(engine, orders, on_step=lambda _done, _steps: None)
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    return [picture.astype(int) for picture in pictures]


def make_pictures_in_batcher(
    engine: Engine, orders: Sequence[ImageOrder], *, max_queue_delay_seconds: float
) -> list[np.ndarray]:
    """Make the orders in the threads of a worker, and return the pictures with signed values."""
    batcher = Batcher(engine, max_queue_delay_seconds=max_queue_delay_seconds)
    try:
        futures = [batcher.submit(order) for order in orders]
        return [future.result(timeout=120).astype(int) for future in futures]
    finally:
        batcher.close()


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of two pictures, of 255."""
    return float(np.abs(one - other).mean())


def measure_likeness(preview: Picture, picture: Picture) -> float:
    """Return the correlation of a preview with a picture that is shrunk to its size."""
    small = Image.fromarray(picture).resize(preview.shape[1::-1], Image.Resampling.BOX)
    return float(np.corrcoef(preview.ravel(), np.asarray(small).ravel())[0, 1])
