"""Rows of a CSV file (RFC 4180) that no spreadsheet program takes for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

Cell = str | int | None

# A text that begins with one of these is a formula to a spreadsheet program (CWE-1236). The last four are the first
# four in the width of Chinese characters.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Where a program takes a semicolon or a tab for the separator, a cell begins behind it, whatever the quotes say.
_BEHIND_SEPARATOR: Final = re.compile('([;\t][ "]*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])')


def write(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the rows in UTF-8. What would be a formula gets an apostrophe in front."""
    out = io.StringIO()
    csv.writer(out).writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue().encode()


def _harmless(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    text = _BEHIND_SEPARATOR.sub(r"\1'", cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
