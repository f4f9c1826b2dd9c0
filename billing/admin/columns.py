"""Columns of the admin that show micros as dollars and sort by number."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin

from billing.money import format_usd


def usd(field: str, title: str = "") -> Callable[[Any], str]:
    """Make a column that shows this field of micros in dollars with four decimal places.

    The default title is the field's name without its unit.
    """

    @admin.display(description=title or field.removesuffix("_micros").replace("_", " "), ordering=field)
    def column(row: Any) -> str:
        micros = getattr(row, field)
        return "" if micros is None else format_usd(micros)

    column.__name__ = f"{field}_usd"
    return column
