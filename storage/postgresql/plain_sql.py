"""Pieces of plain SQL: the clock, a model's columns, and the instance of a row.

The few statements on the path of every image are plain SQL beside their models. Django's ORM compiles a statement anew
each time, at ten times the cost of sending it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

M = TypeVar("M", bound=Model)

# The value `now` is None for the time at which the database receives the statement. Tests pass a time of their own.
NOW: Final = "coalesce(%(now)s::timestamptz, statement_timestamp())"


def columns(model: type[Model], alias: str) -> str:
    """Return the list of the model's columns, each with the alias of its table."""
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


def execute(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Send the statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def instance(model: type[M], values: Sequence[Any]) -> M:
    """Return the instance of the model whose columns have these values, in the order of `columns`."""
    fields = model._meta.concrete_fields
    # Of our fields only JSON has another form in Python than in the driver.
    read = [
        field.from_db_value(value, None, connection) if hasattr(field, "from_db_value") else value
        for field, value in zip(fields, values, strict=True)
    ]
    return model.from_db(DEFAULT_DB_ALIAS, [field.attname for field in fields], read)
