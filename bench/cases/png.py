"""C1: the encoding of a finished picture, and the size of its file.

A is Pillow with its default settings, and with its fastest ones, or OpenCV. B is `png.encode(pixels)`. All get the
engine's array. Pillow decodes every result, which must be equal to the array.

A size is B's as a share of A's. OpenCV's default is quick and large. With Paeth's filter, its files are about as large
as B's, and that is the comparison that counts.
"""

import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
from PIL import Image

from bench import painted, pictures
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped, compare_in_turn
from workers.imaging import png

Encode = Callable[[png.Pixels], bytes]

# zlib's strategy without matches.
_HUFFMAN_ONLY: Final = 2


def encode_with_pillow(pixels: png.Pixels, **settings: int) -> bytes:
    """Return a PNG with Pillow's default settings, or with these."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **settings)
    return file.getvalue()


@contextmanager
def _prepare() -> Iterator[Round]:
    arrays = [np.array(paint(pictures.SIDE_PIXELS)) for paint in pictures.KINDS.values()]
    sizes = [_compare_sizes(encode_with_pillow, [pixels]) for pixels in arrays]
    rounds = [_compare(encode_with_pillow, pixels) for pixels in arrays]
    fastest = partial(encode_with_pillow, compress_level=1, compress_type=_HUFFMAN_ONLY)
    rounds_of_fastest = [_compare(fastest, pixels) for pixels in arrays]

    def measure(b_first: bool) -> Samples:
        each = [one_round(b_first) for one_round in rounds]
        kinds = {kind: samples["ratio"] for kind, samples in zip(pictures.KINDS, each, strict=True)}
        seconds = {side: sum(samples[side] for samples in each) for side in "AB"}
        return {
            **seconds,
            "all five": seconds["A"] / seconds["B"],
            "largest of the sizes": max(sizes),
            "all five, beside Pillow's fastest": _sum_ratio(rounds_of_fastest, b_first),
            **kinds,
        }

    yield measure


@contextmanager
def _prepare_opencv() -> Iterator[Round]:
    if importlib.util.find_spec("cv2") is None:
        raise Skipped("OpenCV is not installed; run `make bench` to install bench/requirements.txt")
    sides = pictures.SIDE_PIXELS
    groups = {
        "five kinds": [np.array(paint(sides)) for paint in pictures.KINDS.values()],
        "painted": painted.paint_scenes(sides),
        "demo model": painted.generate(sides),
    }
    sizes, rounds = {}, {}
    for group, arrays in groups.items():
        for name, encode in _list_opencv().items():
            sizes[f"{group}, {name}, size"] = _compare_sizes(encode, arrays)
            rounds[f"{group}, {name}"] = [_compare(encode, pixels) for pixels in arrays]
    yield lambda b_first: {
        **sizes,
        **{label: _sum_ratio(each, b_first) for label, each in rounds.items()},
    }


def _list_opencv() -> Mapping[str, Encode]:
    """Return OpenCV's encoder with its default settings, and with those that made its smallest files."""
    import cv2  # noqa: PLC0415 (it may be missing)

    def encode(settings: Sequence[int], pixels: png.Pixels) -> bytes:
        # OpenCV's pictures are blue, green and red.
        _, content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
        return bytes(content)

    smallest: list[Any] = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    smallest += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return {"default": partial(encode, []), "Paeth": partial(encode, smallest)}


def _compare(encode: Encode, pixels: png.Pixels) -> Round:
    return compare_in_turn(partial(encode, pixels), partial(png.encode, pixels), times_b=5)


def _sum_ratio(rounds: Sequence[Round], b_first: bool) -> float:
    each = [one_round(b_first) for one_round in rounds]
    return sum(samples["A"] for samples in each) / sum(samples["B"] for samples in each)


def _compare_sizes(encode: Encode, arrays: Sequence[png.Pixels]) -> float:
    """Check the pixels of all files, and return the size of B's files as a share of A's."""
    byte_counts = {"A": 0, "B": 0}
    for pixels in arrays:
        for side, content in (("A", encode(pixels)), ("B", png.encode(pixels))):
            byte_counts[side] += len(content)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as decoded:
                assert decoded.mode == "RGB"
                assert np.array_equal(np.asarray(decoded), pixels)
    return byte_counts["B"] / byte_counts["A"]


def _list_opencv_figures() -> Iterator[Figure]:
    for group in ("five kinds", "painted", "demo model"):
        for name in ("default", "Paeth"):
            yield Figure(name=f"{group}, {name}")
            yield Figure(name=f"{group}, {name}, size")


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
            Figure(name="all five, beside Pillow's fastest"),
            *(Figure(name=kind) for kind in pictures.KINDS),
        ),
        prepare=_prepare,
    ),
    Benchmark(
        code="C1",
        name="png-opencv",
        a="1024² pictures by OpenCV's default and with Paeth's filter: five kinds, painted ones, the demo model's",
        b="the same by workers.imaging.png",
        clock="CPU",
        figures=tuple(_list_opencv_figures()),
        prepare=_prepare_opencv,
        is_context=True,
    ),
)
