"""Shapes as signed distances, which are negative inside, in units of a picture's height.

Sizes and places differ from scene to scene. Tensors: B scenes, H rows, W columns.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

Bounds = tuple[float, float, float, float]
SHARP: Final = 0.02
EVERYWHERE: Final[Bounds] = (-np.inf, -np.inf, np.inf, np.inf)


class Shape(NamedTuple):
    """A distance function, and bounds outside of which the shape is empty.

    `distance` takes x_11W and y_1H1 and returns distances_BHW. The bounds are left, top, right and bottom.
    """

    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    bounds: Bounds


def to_column(number: ArrayLike, like: torch.Tensor) -> torch.Tensor:
    """Return one number for each scene as a tensor that broadcasts over rows and columns."""
    values = np.asarray(number, dtype=np.float32).reshape(-1, 1, 1)
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.device, non_blocking=True)


def ellipse(x: ArrayLike, y: ArrayLike, width: ArrayLike, height: ArrayLike) -> Shape:
    """Return an ellipse by its centre and half axes. The distance is exact on the edge."""

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        half_width, half_height = to_column(width, x_11W), to_column(height, x_11W)
        across = (x_11W - to_column(x, x_11W)) / half_width
        down = (y_1H1 - to_column(y, x_11W)) / half_height
        scaled = torch.sqrt(across**2 + down**2)
        slope = torch.sqrt((across / half_width) ** 2 + (down / half_height) ** 2).clamp_min(1e-6)
        return scaled * (scaled - 1) / slope

    return Shape(distance, _bound_ellipse(x, y, width, height))


def box(
    left: ArrayLike, top: ArrayLike, right: ArrayLike, bottom: ArrayLike, round_by: ArrayLike = 0.0
) -> Shape:
    """Return a rectangle whose corners are rounded by a radius."""
    left, top, right, bottom = (np.asarray(side, dtype=np.float32) for side in (left, top, right, bottom))

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        radius = to_column(round_by, x_11W)
        across = _measure_beyond(x_11W, left, right) + radius
        down = _measure_beyond(y_1H1, top, bottom) + radius
        outside = torch.sqrt(across.clamp_min(0) ** 2 + down.clamp_min(0) ** 2)
        return outside + torch.maximum(across, down).clamp_max(0) - radius

    return Shape(distance, (float(left.min()), float(top.min()), float(right.max()), float(bottom.max())))


def polygon(*points: tuple[ArrayLike, ArrayLike]) -> Shape:
    """Return a convex polygon. Its corners are clockwise on the screen."""
    xs, ys = zip(*points, strict=True)

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        farthest: torch.Tensor | None = None
        for at in range(len(points)):
            x0, y0, x1, y1 = (
                np.asarray(value, dtype=np.float32) for value in (xs[at - 1], ys[at - 1], xs[at], ys[at])
            )
            length = np.maximum(np.hypot(x1 - x0, y1 - y0), 1e-6)
            normal_x, normal_y = (y1 - y0) / length, (x0 - x1) / length
            offset = to_column(normal_x * x0 + normal_y * y0, x_11W)
            beyond = x_11W * to_column(normal_x, x_11W) + (y_1H1 * to_column(normal_y, x_11W) - offset)
            farthest = beyond if farthest is None else torch.maximum(farthest, beyond)
        assert farthest is not None
        return farthest

    right, bottom = (-_find_minimum([-np.asarray(value) for value in values]) for values in (xs, ys))
    # The soft edge of a sharp corner reaches beyond the corner's point.
    return Shape(
        distance, (_find_minimum(xs) - SHARP, _find_minimum(ys) - SHARP, right + SHARP, bottom + SHARP)
    )


def stroke(x0: ArrayLike, y0: ArrayLike, x1: ArrayLike, y1: ArrayLike, radius: ArrayLike) -> Shape:
    """Return a line with round ends."""
    x0, y0, x1, y1, radius = (np.asarray(value, dtype=np.float32) for value in (x0, y0, x1, y1, radius))

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        along_x, along_y = to_column(x1 - x0, x_11W), to_column(y1 - y0, x_11W)
        from_x, from_y = x_11W - to_column(x0, x_11W), y_1H1 - to_column(y0, x_11W)
        part = (from_x * along_x + from_y * along_y) / (along_x**2 + along_y**2).clamp_min(1e-9)
        part = part.clamp(0, 1)
        off_x, off_y = from_x - along_x * part, from_y - along_y * part
        return torch.sqrt(off_x**2 + off_y**2) - to_column(radius, x_11W)

    widest = float(radius.max())
    left, right = np.minimum(x0, x1), np.maximum(x0, x1)
    top, bottom = np.minimum(y0, y1), np.maximum(y0, y1)
    return Shape(
        distance,
        (
            float(left.min()) - widest,
            float(top.min()) - widest,
            float(right.max()) + widest,
            float(bottom.max()) + widest,
        ),
    )


def below(height: Callable[[torch.Tensor], torch.Tensor], top: float) -> Shape:
    """Return the area below a curve y = height(x), which nowhere rises above `top`."""

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        heights = height(x_11W)
        slope = (height(x_11W + 1e-3) - heights) / 1e-3
        return (heights - y_1H1) / torch.sqrt(1 + slope**2)

    return Shape(distance, (-np.inf, top, np.inf, np.inf))


def union(*shapes: Shape) -> Shape:
    """Return the area that any of the shapes covers."""

    def distance(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        nearest = shapes[0].distance(x_11W, y_1H1)
        for shape in shapes[1:]:
            nearest = torch.minimum(nearest, shape.distance(x_11W, y_1H1))
        return nearest

    lefts, tops, rights, bottoms = zip(*(shape.bounds for shape in shapes), strict=True)
    return Shape(distance, (min(lefts), min(tops), max(rights), max(bottoms)))


def within(shape: Shape, limit: Shape) -> Shape:
    """Return the area that both shapes cover."""
    return Shape(
        lambda x, y: torch.maximum(shape.distance(x, y), limit.distance(x, y)),
        (
            max(shape.bounds[0], limit.bounds[0]),
            max(shape.bounds[1], limit.bounds[1]),
            min(shape.bounds[2], limit.bounds[2]),
            min(shape.bounds[3], limit.bounds[3]),
        ),
    )


def without(shape: Shape, hole: Shape) -> Shape:
    """Return the area that the first shape covers and the second does not."""
    return Shape(lambda x, y: torch.maximum(shape.distance(x, y), -hole.distance(x, y)), shape.bounds)


def _measure_beyond(along: torch.Tensor, low: ArrayLike, high: ArrayLike) -> torch.Tensor:
    first, last = to_column(low, along), to_column(high, along)
    return (along - (first + last) / 2).abs() - (last - first) / 2


def _find_minimum(values: Sequence[ArrayLike]) -> float:
    return min(float(np.min(np.asarray(value))) for value in values)


def _bound_ellipse(x: ArrayLike, y: ArrayLike, width: ArrayLike, height: ArrayLike) -> Bounds:
    x, y, width, height = (np.asarray(value, dtype=np.float32) for value in (x, y, width, height))
    return (
        float((x - width).min()),
        float((y - height).min()),
        float((x + width).max()),
        float((y + height).max()),
    )
