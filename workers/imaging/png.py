"""The encoder of finished pictures as lossless RGB PNG. It is fast, and does not know where the bytes go.

A PNG consists of its rows, deflated. Each row is filtered (PNG specification §9) and starts with its filter's number.
The fastest and smallest encoding depends on the picture, so a sample of its rows is examined first.
"""

import enum
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from zlib_ng import zlib_ng

Pixels = NDArray[np.uint8]  # (height, width, 3)
Rows = NDArray[np.uint8]  # (height, 1 + 3 * width): each row starts with its filter's number

CHANNELS: Final = 3
SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# The sample that decides how a picture is written. It consists of strips, so that matches with the row above count.
SAMPLED_ROWS: Final = 32
STRIP_ROWS: Final = 4
# A sample shows fewer matches than the whole picture has. Runs after Paeth's filter therefore count only if they are
# smaller than all else by this factor.
PAETH_FACTOR: Final = 0.92
# One block is a few hundred kilobytes of rows, which stay in the processor's cache until they are deflated.
BLOCK_ROWS: Final = 64
# Grain hardly ever repeats. The limits are shares of bytes that equal the byte before them, or the three before them.
# Below both, Huffman coding alone was smallest on every photo and painting measured. Matches take several times
# longer.
GRAIN_REPEATS: Final = 0.4
GRAIN_RUNS: Final = 0.1


class Filter(enum.IntEnum):
    """Filters by the subtracted value: nothing, the byte of the left pixel, of the one above, their mean, Paeth's."""

    NONE = 0
    SUB = 1
    UP = 2
    AVERAGE = 3
    PAETH = 4


class Plan(NamedTuple):
    """A way to write a picture: a row filter, and the `strategy` and `level` of zlib."""

    filter: Filter
    strategy: int
    level: int


GRAIN: Final = Plan(Filter.AVERAGE, zlib_ng.Z_HUFFMAN_ONLY, 1)
# Runs are smallest where plain areas lie beside grain, and after Paeth's filter for soft paintings. Matches are
# smallest for drawings, text, gradients and grey, where the filter matters more than the level.
#
# OpenCV's encoder gains nothing over these (benchmark C1) that its 61 MB would be worth. It takes twice the time where
# there is grain. It is quicker on painted pictures, but with files 30 % larger, and no quicker at an equal size.
PLANS: Final = (
    GRAIN,
    Plan(Filter.AVERAGE, zlib_ng.Z_RLE, 1),
    Plan(Filter.PAETH, zlib_ng.Z_RLE, 1),
    Plan(Filter.AVERAGE, zlib_ng.Z_DEFAULT_STRATEGY, 3),
    Plan(Filter.UP, zlib_ng.Z_DEFAULT_STRATEGY, 3),
    Plan(Filter.SUB, zlib_ng.Z_DEFAULT_STRATEGY, 3),
    Plan(Filter.NONE, zlib_ng.Z_DEFAULT_STRATEGY, 3),
)


def encode(picture: Image.Image | Pixels, *, metadata: bytes = b"") -> bytes:
    """Return the lossless PNG of an RGB image or of (height, width, 3) bytes.

    The PNG holds the pixels and the chunks of `metadata`. Equal arguments give equal bytes. Raise ValueError for any
    other picture.
    """
    pixels = check_pixels(picture)
    height, width = pixels.shape[:2]
    plan = _choose_plan(pixels)
    rows = filter_rows(pixels, plan.filter)
    return assemble(rows, width=width, height=height, plan=plan, metadata=metadata)


def filter_rows(pixels: Pixels, by: Filter) -> Iterator[Rows]:
    """Yield the filtered rows of a picture, ready to be deflated, BLOCK_ROWS at a time."""
    flat = pixels.reshape(len(pixels), -1)
    above = np.zeros_like(flat[:1])
    for start in range(0, len(flat), BLOCK_ROWS):
        block = flat[start : start + BLOCK_ROWS]
        rows = np.empty((len(block), 1 + block.shape[1]), np.uint8)
        rows[:, 0] = by
        _subtract(block[:1], above, by, rows[:1, 1:])
        _subtract(block[1:], block[:-1], by, rows[1:, 1:])
        yield rows
        above = block[-1:]


def assemble(
    rows: Iterable[Rows], *, width: int, height: int, plan: Plan = GRAIN, metadata: bytes = b""
) -> bytes:
    """Return the PNG of rows in one or several arrays. The rows are filtered already, for example by a device."""
    # The fields say eight bits a channel, RGB, deflate, the five filters and not interlaced.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels, end = _chunk(b"IDAT", *_deflate(rows, plan)), _chunk(b"IEND")
    return b"".join((SIGNATURE, *_chunk(b"IHDR", header), metadata, *pixels, *end))


def chunk(name: bytes, *parts: bytes) -> bytes:
    """Return a chunk of a PNG with its length and its checksum."""
    return b"".join(_chunk(name, *parts))


def check_pixels(picture: Image.Image | Pixels) -> Pixels:
    """Return the pixels of a finished picture. Raise ValueError unless they are (height, width, 3) bytes."""
    if isinstance(picture, Image.Image) and picture.mode != "RGB":
        raise ValueError(f"a finished image is RGB, not {picture.mode}")
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != CHANNELS or not pixels.size:
        raise ValueError(
            f"a finished image is (height, width, 3) bytes, not {pixels.shape} of {pixels.dtype}"
        )
    return pixels


def _choose_plan(pixels: Pixels) -> Plan:
    """Return the plan that is smallest for a sample of the rows. For obvious grain no plan is tried."""
    flat = pixels.reshape(len(pixels), -1)
    chosen = _sample_rows(len(flat))
    current, above = flat[chosen], flat[chosen - 1]
    average = _filter_samples(current, above, Filter.AVERAGE)
    if _is_grain(average):
        return GRAIN
    samples = {by: _filter_samples(current, above, by) for by in Filter}
    return min(PLANS, key=lambda plan: _weigh(samples[plan.filter], plan))


def _sample_rows(height: int) -> NDArray[np.intp]:
    """Return the sampled rows, in strips that show matches with the rows above, spread over the height."""
    starts = np.linspace(0, max(0, height - STRIP_ROWS), SAMPLED_ROWS // STRIP_ROWS).astype(np.intp)
    chosen = np.unique(starts[:, None] + np.arange(STRIP_ROWS))
    return chosen[chosen < height]


def _is_grain(differences: Rows) -> bool:
    repeats = differences[:, 1:] == differences[:, :-1]
    runs = repeats[:, 2:] & repeats[:, 1:-1] & repeats[:, :-2]
    seen = max(1, differences.size)
    return bool(
        np.count_nonzero(repeats) < GRAIN_REPEATS * seen and np.count_nonzero(runs) < GRAIN_RUNS * seen
    )


def _weigh(sample: Rows, plan: Plan) -> float:
    """Return the bytes of a sample, as they are compared with those of other plans."""
    byte_count = sum(map(len, _deflate([sample], plan)))
    return byte_count / PAETH_FACTOR if plan.filter is Filter.PAETH else byte_count


def _filter_samples(current: Rows, above: Rows, by: Filter) -> Rows:
    differences = np.empty_like(current)
    _subtract(current, above, by, differences)
    return differences


def _subtract(current: Rows, above: Rows, by: Filter, out: Rows) -> None:
    """Write each byte minus its filter's value to `out`. The pixel left of the first one counts as black."""
    first, rest = slice(None, CHANNELS), slice(CHANNELS, None)
    left = current[:, :-CHANNELS]
    if by is Filter.NONE:
        out[:] = current
    elif by is Filter.UP:
        np.subtract(current, above, out=out)
    elif by is Filter.SUB:
        out[:, first] = current[:, first]
        np.subtract(current[:, rest], left, out=out[:, rest])
    elif by is Filter.PAETH:
        # Where there is no pixel to the left, the byte above is always the nearest.
        np.subtract(current[:, first], above[:, first], out=out[:, first])
        np.subtract(current[:, rest], _predict(left, above[:, rest], above[:, :-CHANNELS]), out=out[:, rest])
    else:
        np.subtract(current[:, first], above[:, first] >> 1, out=out[:, first])
        # The mean of two bytes, rounded down, is their common bits plus half of their different bits. This form needs
        # no ninth bit.
        mean = left ^ above[:, rest]
        mean >>= 1
        mean += left & above[:, rest]
        np.subtract(current[:, rest], mean, out=out[:, rest])


def _predict(left: Rows, above: Rows, corner: Rows) -> Rows:
    """Return Paeth's prediction: of three neighbours, the one nearest to left + above - corner (specification §9.4).

    No sum is made, because each distance fits a byte once the corner is moved between the two others. Masks choose the
    neighbour, because a branch for each byte takes many times as long on grain.
    """
    low, high = np.minimum(left, above), np.maximum(left, above)
    chosen: Rows = np.minimum(np.maximum(corner, low), high)
    to_low, to_high = chosen - low, high - chosen
    # The sum is as far from the low byte as the corner is from the high one. Both are nearest only if all are equal.
    to_take_low = (low ^ chosen) & _mask(to_high <= to_low >> 1)
    to_take_high = (high ^ chosen) & _mask(to_low <= to_high >> 1)
    chosen ^= to_take_low
    chosen ^= to_take_high
    return chosen


def _mask(truths: NDArray[np.bool_]) -> Rows:
    """Return a byte of ones for each True."""
    return np.negative(truths.view(np.uint8))


def _deflate(rows: Iterable[Rows], plan: Plan) -> list[bytes]:
    # Memory level 9 makes the longest blocks, which need fewer tables and save a tenth of the time.
    deflater = zlib_ng.compressobj(plan.level, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, 9, plan.strategy)
    parts = [deflater.compress(some) for some in rows]
    return [*parts, deflater.flush()]


def _chunk(name: bytes, *parts: bytes) -> tuple[bytes, ...]:
    checksum = zlib_ng.crc32(name)
    for part in parts:
        checksum = zlib_ng.crc32(part, checksum)
    return struct.pack(">I", sum(map(len, parts))), name, *parts, struct.pack(">I", checksum)
