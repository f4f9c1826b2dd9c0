"""Grids of many like shapes for the cost of one: each cell holds numbers of its own."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from demo_model.painter.seeded_random import Floats, Seeds, draw_uniform
from demo_model.painter.shapes import to_column


class GridSample(NamedTuple):
    """Each pixel's offset from the centre of its cell, and the numbers of that cell.

    The offsets are in the units of the picture.
    """

    x_BHW: torch.Tensor
    y_BHW: torch.Tensor
    numbers_KBHW: torch.Tensor


class Grid:
    """A grid that starts at `left` and `top`. `pitch` is the width and height of a cell.

    Pixels outside the grid belong to its nearest cells.
    """

    def __init__(
        self,
        table_BKJI: Floats,
        *,
        pitch: tuple[ArrayLike, ArrayLike],
        left: ArrayLike = 0.0,
        top: ArrayLike = 0.0,
        slant: float = 0.0,
    ) -> None:
        """Take the numbers of the cells. With `slant`, the grid leans left by that share of the height going down."""
        self._table_BKJI = table_BKJI
        self._pitch = pitch
        self._left, self._top, self._slant = left, top, slant

    def sample(self, x_11W: torch.Tensor, y_1H1: torch.Tensor) -> GridSample:
        """Return the cells of these pixels."""
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
    """Pick the cells where all rows of pixels share their columns.

    It gives the result of `_pick_cells` in a tenth of the time, because it copies whole rows.
    """
    count = table_KBJI.shape[1]
    rows_BH, columns_BW = (at[:, :, 0] for at in (j_BH1.expand(count, -1, 1), i_B1W.expand(count, 1, -1).mT))
    pairs = zip(rows_BH, columns_BW, table_KBJI.unbind(1), strict=True)
    return torch.stack(
        [table_KJI.index_select(2, columns).index_select(1, rows) for rows, columns, table_KJI in pairs],
        dim=1,
    )


def draw_table(seeds_B: Seeds, name: str, *, kinds: int, rows: int, columns: int) -> Floats:
    """Draw numbers in [0, 1) for the cells of a grid, of shape (B, K, J, I)."""
    return draw_uniform(seeds_B, name, kinds * rows * columns).reshape(-1, kinds, rows, columns)


def spread_table(table_BKJI: Floats, *ranges: tuple[float, float]) -> Floats:
    """Scale each kind of number of a table from [0, 1) to its range."""
    low, high = np.asarray(ranges, dtype=np.float32).T[..., None, None]
    spread: Floats = low + table_BKJI * (high - low)
    return spread
