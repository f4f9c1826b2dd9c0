"""Columns that show micros as dollars, sortable as the number that they are."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin

from billing.money import format_usd


def usd(field: str, title: str = "") -> Callable[[Any], str]:
    """A column of this field of micros, in dollars with four places; the field's name is its title by default."""

    @admin.display(description=title or field.removesuffix("_micros").replace("_", " "), ordering=field)
    def column(row: Any) -> str:
        micros = getattr(row, field)
        return "" if micros is None else format_usd(micros)

    column.__name__ = f"{field}_usd"
    return column
