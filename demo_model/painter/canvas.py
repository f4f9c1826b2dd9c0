"""Canvas of many scenes, painted shape over shape. The origin is at the top left, and a picture's height is 1."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import EVERYWHERE, Bounds, Shape, to_column

# A paint is one colour for each scene, of shape (B, 3), or a function that gives each pixel one, of (B, 3, H, W).
Paint = Floats | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Canvas:
    """Pixels of B pictures, from 0 to 1, in sRGB.

    A shape is painted on all pictures at once, with a place and a colour of its own in each.
    """

    def __init__(self, pixels_BCHW: torch.Tensor) -> None:
        """Paint on the given pixels, in place."""
        self.pixels_BCHW = pixels_BCHW
        height, width = pixels_BCHW.shape[2:]
        self.aspect = width / height
        self._pixel = 1 / height
        self._x_11W = ((torch.arange(width, device=pixels_BCHW.device) + 0.5) / height).view(1, 1, -1)
        self._y_1H1 = ((torch.arange(height, device=pixels_BCHW.device) + 0.5) / height).view(1, -1, 1)

    def draw(self, shape: Shape, paint: Paint, *, alpha: ArrayLike = 1.0, soft: float = 0.0) -> None:
        """Paint a shape over the picture. Its edge is one pixel plus `soft` wide."""
        window = self._find_window(shape.bounds, soft)
        if window is None or not np.any(alpha):
            return
        rows, columns = window
        x_11W, y_1H1 = self._x_11W[..., columns], self._y_1H1[:, rows]
        cover_BHW = (0.5 - shape.distance(x_11W, y_1H1) / (self._pixel + soft)).clamp(0, 1)
        self._blend(window, cover_BHW * to_column(alpha, x_11W), paint)

    def wash(self, strength: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], paint: Paint) -> None:
        """Tint all pixels. `strength` gives a number from 0 to 1 for each pixel."""
        window = self._find_window(EVERYWHERE, 0.0)
        assert window is not None
        self._blend(window, strength(self._x_11W, self._y_1H1), paint)

    def glow(
        self, x: ArrayLike, y: ArrayLike, radius: ArrayLike, colour_B3: Floats, alpha: ArrayLike
    ) -> None:
        """Paint a light that fades outward."""

        def strength(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
            away = (x_11W - to_column(x, x_11W)) ** 2 + (y_1H1 - to_column(y, x_11W)) ** 2
            return to_column(alpha, x_11W) * torch.exp(-3 * away / to_column(radius, x_11W) ** 2)

        self.wash(strength, colour_B3)

    def _blend(self, window: tuple[slice, slice], cover_BHW: torch.Tensor, paint: Paint) -> None:
        rows, columns = window
        if callable(paint):
            colour = paint(self._x_11W[..., columns], self._y_1H1[:, rows])
        else:
            colour = torch.from_numpy(paint.astype(np.float32)).to(cover_BHW.device)[:, :, None, None]
        self.pixels_BCHW[:, :, rows, columns].lerp_(colour, cover_BHW[:, None])

    def _find_window(self, bounds: Bounds, soft: float) -> tuple[slice, slice] | None:
        """Return the rows and columns that a shape in these bounds can touch, or None."""
        height, width = self.pixels_BCHW.shape[2:]
        edge = self._pixel + soft
        left, top = (max(0, _floor_within((side - edge) * height, width + height)) for side in bounds[:2])
        right = min(width, _floor_within((bounds[2] + edge) * height, width) + 1)
        bottom = min(height, _floor_within((bounds[3] + edge) * height, height) + 1)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)


def make_gradient(top_B3: Floats, bottom_B3: Floats, *, start: ArrayLike, end: ArrayLike) -> Paint:
    """Return a paint that goes from one colour to another, from the top down."""

    def paint(x_11W: torch.Tensor, y_1H1: torch.Tensor) -> torch.Tensor:
        first, last = to_column(start, y_1H1), to_column(end, y_1H1)
        part = ((y_1H1 - first) / (last - first)).clamp(0, 1)[:, None]
        top, bottom = (
            torch.from_numpy(colour.astype(np.float32)).to(x_11W.device)[:, :, None, None]
            for colour in (top_B3, bottom_B3)
        )
        return torch.lerp(top, bottom, part)

    return paint


def _floor_within(position: float, maximum: int) -> int:
    return int(np.floor(np.clip(position, -1, maximum)))
