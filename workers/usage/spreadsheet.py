"""Rows of a CSV file (RFC 4180) that no spreadsheet program takes for formulas."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

Cell = str | int | None

# A text that begins with one of these is a formula to a spreadsheet program (CWE-1236). The last four are the first
# four in the width of Chinese characters.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the rows in UTF-8. A text that would be a formula gets an apostrophe in front."""
    out = io.StringIO()
    csv.writer(out).writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue().encode()


def _harmless(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell
