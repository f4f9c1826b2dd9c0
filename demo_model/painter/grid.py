"""Many of a kind at the price of one: a grid whose every cell holds numbers of its own, and a shape within it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from demo_model.painter.seeded_random import Floats, Seeds, draw_uniform
from demo_model.painter.shapes import to_column


class GridSample(NamedTuple):
    """Of each pixel: where it lies from its cell's centre, in the units of the picture, and its cell's numbers."""

    x_BHW: torch.Tensor
    y_BHW: torch.Tensor
    numbers_KBHW: torch.Tensor


class Grid:
    """A grid from `left` and `top` on, with grid of `pitch` each way; what lies beyond belongs to its last grid."""

    def __init__(
        self,
        table_BKJI: Floats,
        *,
        pitch: tuple[ArrayLike, ArrayLike],
        left: ArrayLike = 0.0,
        top: ArrayLike = 0.0,
        slant: float = 0.0,
    ) -> None:
        """With a slant the grid leans to the left on its way down, by so much of the height."""
        self._table_BKJI = table_BKJI
        self._pitch = pitch
        self._left, self._top, self._slant = left, top, slant

    def sample(self, x_11W: torch.Tensor, y_1H1: torch.Tensor) -> GridSample:
        """The grid of these pixels."""
        rows, columns = self._table_BKJI.shape[2:]
        wide, high = (to_column(side, x_11W) for side in self._pitch)
        leaning = x_11W + self._slant * y_1H1 if self._slant else x_11W
        across = (leaning - to_column(self._left, x_11W)) / wide
        down = (y_1H1 - to_column(self._top, x_11W)) / high
        i_BHW = across.floor().clamp(0, columns - 1)
        j_BHW = down.floor().clamp(0, rows - 1)
        table_KBJI = torch.from_numpy(self._table_BKJI).to(x_11W.device).transpose(0, 1)
        pick = _pick_cells if self._slant else _pick_by_rows
        return GridSample(
            (across - i_BHW - 0.5) * wide,
            (down - j_BHW - 0.5) * high,
            pick(table_KBJI, j_BHW.long(), i_BHW.long()),
        )


def _pick_cells(table_KBJI: torch.Tensor, j_BHW: torch.Tensor, i_BHW: torch.Tensor) -> torch.Tensor:
    scene_B11 = torch.arange(table_KBJI.shape[1], device=j_BHW.device).view(-1, 1, 1)
    return table_KBJI[:, scene_B11, j_BHW, i_BHW]


def _pick_by_rows(table_KBJI: torch.Tensor, j_BH1: torch.Tensor, i_B1W: torch.Tensor) -> torch.Tensor:
    """The same where a row's grid are those of every row: it is copied, which takes a tenth of the time."""
    count = table_KBJI.shape[1]
    rows_BH, columns_BW = (at[:, :, 0] for at in (j_BH1.expand(count, -1, 1), i_B1W.expand(count, 1, -1).mT))
    pairs = zip(rows_BH, columns_BW, table_KBJI.unbind(1), strict=True)
    return torch.stack(
        [table_KJI.index_select(2, columns).index_select(1, rows) for rows, columns, table_KJI in pairs],
        dim=1,
    )


def draw_table(seeds_B: Seeds, name: str, *, kinds: int, rows: int, columns: int) -> Floats:
    """Floats in [0, 1) for the grid of a grid, shape (B, K, J, I)."""
    return draw_uniform(seeds_B, name, kinds * rows * columns).reshape(-1, kinds, rows, columns)


def spread_table(table_BKJI: Floats, *ranges: tuple[float, float]) -> Floats:
    """The same table with each kind of number spread over its range."""
    low, high = np.asarray(ranges, dtype=np.float32).T[..., None, None]
    spread: Floats = low + table_BKJI * (high - low)
    return spread
