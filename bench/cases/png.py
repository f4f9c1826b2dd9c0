"""C1: the encoding of a finished picture.

A is Pillow's `Image.fromarray(pixels).save(file, "PNG")`. B is `png.encode(pixels)`. Both get the engine's array, and
Pillow decodes both results, which must be equal to it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples, compare_in_turn
from workers.imaging import png


def encode_with_pillow(pixels: png.Pixels) -> bytes:
    """Return a PNG with Pillow's default settings."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextmanager
def _prepare() -> Iterator[Round]:
    arrays = [np.array(paint(pictures.SIDE_PIXELS)) for paint in pictures.KINDS.values()]
    sizes = [_compare(pixels) for pixels in arrays]
    rounds = [
        compare_in_turn(partial(encode_with_pillow, pixels), partial(png.encode, pixels), times_b=5)
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


def _compare(pixels: png.Pixels) -> float:
    """Check both files' pixels, and return the size of B's file as a share of A's."""
    files = [encode_with_pillow(pixels), png.encode(pixels)]
    for content in files:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as decoded:
            assert decoded.mode == "RGB"
            assert np.array_equal(np.asarray(decoded), pixels)
    return len(files[1]) / len(files[0])


BENCHMARKS: Final = (
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
        prepare=_prepare,
    ),
)
