"""Batches of several sizes, and their comparison with the pictures of an engine that is not compiled."""

import numpy as np
import torch
from PIL import Image

from tests.workers.pipelines.orders import BLUE, MOST_DIFFERENCE, RED, made, order
from workers.engine.batcher import Batcher
from workers.engine.interface import Engine, ImageOrder

SIZES = ["128x128", "256x128"]
WIDE = Image.new("RGB", (96, 192), "green")
# Sizes that were named and others, alone and together, with sources and without.
MIXED = [
    [order(size=(128, 128))],
    [order(size=(128, 128), seed=seed) for seed in range(4)],
    [order(size=(256, 128))],
    [order(size=(256, 128), seed=seed) for seed in range(2)],
    [order(size=(128, 256))],
    [order("a boat", size=(192, 160), seed=seed) for seed in range(3)],
    [order(size=(128, 128), sources=[RED])],
    [order(size=(128, 128), sources=[RED, WIDE])],
    [order(size=(256, 128), sources=[source], seed=1) for source in (RED, BLUE)],
    [order(size=(512, 512))],
]


def together(engine: Engine, orders: list[ImageOrder]) -> list[np.ndarray]:
    """In the threads of a worker."""
    batcher = Batcher(engine, max_queue_delay_seconds=1.0)
    try:
        futures = [batcher.submit(each) for each in orders]
        return [future.result(timeout=120).astype(int) for future in futures]
    finally:
        batcher.close()


def check_made_as_without(compiled: Engine, plain: Engine, batches: list[list[ImageOrder]]) -> None:
    """Each batch comes out as the plain engine makes it, and nothing is compiled for it."""
    for orders in batches:
        with torch.compiler.set_stance("fail_on_recompile"):
            pictures = together(compiled, orders)
        for picture, expected in zip(pictures, made(plain, *orders), strict=True):
            assert np.abs(picture - expected).max() <= MOST_DIFFERENCE
