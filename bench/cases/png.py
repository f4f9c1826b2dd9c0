"""C1: encoding a finished picture.

A is what Pillow's users have: `Image.fromarray(pixels).save(file, "PNG")`. B is `png.encode(pixels)`. Both get
the array that the engine hands over, both results are decoded by Pillow and must be equal to it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples, in_turn
from workers.imaging import png


def by_pillow(pixels: png.Pixels) -> bytes:
    """A PNG as Pillow writes it unless told otherwise."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextmanager
def _ready() -> Iterator[Round]:
    arrays = [np.array(submit_order(pictures.SIDE_PIXELS)) for submit_order in pictures.KINDS.values()]
    sizes = [_compared(pixels) for pixels in arrays]
    rounds = [
        in_turn(lambda pixels=pixels: by_pillow(pixels), lambda pixels=pixels: png.encode(pixels), times_b=5)  # type: ignore[misc]
        for pixels in arrays
    ]

    def measure(b_first: bool) -> Samples:
        each = [one_round(b_first) for one_round in rounds]
        seconds = {side: sum(samples[side] for samples in each) for side in "AB"}
        kinds = {kind: samples["ratio"] for kind, samples in zip(pictures.KINDS, each, strict=True)}
        return {
            **seconds,
            "all five": seconds["A"] / seconds["B"],
            "largest of the sizes": max(sizes),
            **kinds,
        }

    yield measure


def _compared(pixels: png.Pixels) -> float:
    """The size of B's file beside A's, after a look at what is in both."""
    files = [by_pillow(pixels), png.encode(pixels)]
    for content in files:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as decoded:
            assert decoded.mode == "RGB"
            assert np.array_equal(np.asarray(decoded), pixels)
    return len(files[1]) / len(files[0])


BENCHMARKS = (
    Benchmark(
        code="C1",
        name="png",
        a="five 1024² pictures by Pillow's default",
        b="the same by workers.imaging.png",
        clock="CPU",
        figures=(
            Figure(name="all five", at_least=15, aim=30),
            Figure(name="largest of the sizes", at_least=1.05, aim=1.0, lower_is_better=True),
            *(Figure(name=kind) for kind in pictures.KINDS),
        ),
        ready=_ready,
    ),
)
