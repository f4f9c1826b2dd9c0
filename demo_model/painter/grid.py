"""Many of a kind at the price of one: a grid whose every cell holds numbers of its own, and a shape within it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from demo_model.painter.seeded_random import Numbers, Seeds, uniform
from demo_model.painter.shapes import column


class Look(NamedTuple):
    """Of each pixel: where it lies from its cell's centre, in the units of the picture, and its cell's numbers."""

    x_BHW: torch.Tensor
    y_BHW: torch.Tensor
    numbers_KBHW: torch.Tensor


class Cells:
    """A grid from `left` and `top` on, with cells of `pitch` each way; what lies beyond belongs to its last cells."""

    def __init__(
        self,
        table_BKJI: Numbers,
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

    def look(self, x_11W: torch.Tensor, y_1H1: torch.Tensor) -> Look:
        """The cells of these pixels."""
        rows, columns = self._table_BKJI.shape[2:]
        wide, high = (column(side, x_11W) for side in self._pitch)
        leaning = x_11W + self._slant * y_1H1 if self._slant else x_11W
        across = (leaning - column(self._left, x_11W)) / wide
        down = (y_1H1 - column(self._top, x_11W)) / high
        i_BHW = across.floor().clamp(0, columns - 1)
        j_BHW = down.floor().clamp(0, rows - 1)
        table_KBJI = torch.from_numpy(self._table_BKJI).to(x_11W.device).transpose(0, 1)
        pick = _picked if self._slant else _picked_by_rows
        return Look(
            (across - i_BHW - 0.5) * wide,
            (down - j_BHW - 0.5) * high,
            pick(table_KBJI, j_BHW.long(), i_BHW.long()),
        )


def _picked(table_KBJI: torch.Tensor, j_BHW: torch.Tensor, i_BHW: torch.Tensor) -> torch.Tensor:
    scene_B11 = torch.arange(table_KBJI.shape[1], device=j_BHW.device).view(-1, 1, 1)
    return table_KBJI[:, scene_B11, j_BHW, i_BHW]


def _picked_by_rows(table_KBJI: torch.Tensor, j_BH1: torch.Tensor, i_B1W: torch.Tensor) -> torch.Tensor:
    """The same where a row's cells are those of every row: it is copied, which takes a tenth of the time."""
    count = table_KBJI.shape[1]
    rows_BH, columns_BW = (at[:, :, 0] for at in (j_BH1.expand(count, -1, 1), i_B1W.expand(count, 1, -1).mT))
    pairs = zip(rows_BH, columns_BW, table_KBJI.unbind(1), strict=True)
    return torch.stack(
        [table_KJI.index_select(2, columns).index_select(1, rows) for rows, columns, table_KJI in pairs],
        dim=1,
    )


def table(seeds_B: Seeds, name: str, *, kinds: int, rows: int, columns: int) -> Numbers:
    """Numbers in [0, 1) for the cells of a grid, shape (B, K, J, I)."""
    return uniform(seeds_B, name, kinds * rows * columns).reshape(-1, kinds, rows, columns)


def sizes(table_BKJI: Numbers, *ranges: tuple[float, float]) -> Numbers:
    """The same table with each kind of number spread over its range."""
    low, high = np.asarray(ranges, dtype=np.float32).T[..., None, None]
    spread: Numbers = low + table_BKJI * (high - low)
    return spread
