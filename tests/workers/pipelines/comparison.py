"""The comparison of a compiled engine with a plain one, and batches to compare."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from PIL import Image
from torch._dynamo.utils import counters

from tests.workers.pipelines.pictures import (
    BLUE,
    MAX_DIFFERENCE,
    RED,
    make_order,
    make_pictures,
    make_pictures_in_batcher,
)
from workers.engine.interface import Engine, ImageOrder

# The sizes that an engine of FLUX.2 is compiled for.
SIZES = ["128x128", "256x128"]
WIDE = Image.new("RGB", (96, 192), "green")
# Compiled sizes and others, alone and together, with sources and without.
MIXED = [
    [make_order(size=(128, 128))],
    [make_order(size=(128, 128), seed=seed) for seed in range(4)],
    [make_order(size=(256, 128))],
    [make_order(size=(256, 128), seed=seed) for seed in range(2)],
    [make_order(size=(128, 256))],
    [make_order("a boat", size=(192, 160), seed=seed) for seed in range(3)],
    [make_order(size=(128, 128), sources=[RED])],
    [make_order(size=(128, 128), sources=[RED, WIDE])],
    [make_order(size=(256, 128), sources=[source], seed=1) for source in (RED, BLUE)],
    [make_order(size=(512, 512))],
]


def check_same_pictures(compiled: Engine, plain: Engine, batches: Sequence[Sequence[ImageOrder]]) -> None:
    """Check that each batch comes out as the plain engine makes it, and that nothing is compiled for it.

    Creates find all their code compiled. torch's convolutions on a CPU are chosen by size, so that a small source may
    be encoded by code that is not compiled.
    """
    before = counters["stats"]["unique_graphs"]
    for orders in batches:
        with nullcontext() if orders[0].sources else torch.compiler.set_stance("fail_on_recompile"):
            made = make_pictures_in_batcher(compiled, orders, max_queue_delay_seconds=1.0)
        assert counters["stats"]["unique_graphs"] == before
        for picture, expected in zip(made, make_pictures(plain, *orders), strict=True):
            assert np.abs(picture - expected).max() <= MAX_DIFFERENCE
