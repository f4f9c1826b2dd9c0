"""The fields that the log lines of one piece of work share: its request, its account, its generation, its trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# The names of the fields, in the order of a line.
FIELDS: Final = ("request_id", "account_id", "generation_id", "trace_id")
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields")


def current() -> Mapping[str, object]:
    """Return the fields of the work that this thread or task does now."""
    return _fields.get({})


@contextmanager
def adding(**fields: object) -> Iterator[None]:
    """Add these fields to each line that is logged in the block, except those that are empty."""
    token = _fields.set({**current(), **{name: value for name, value in fields.items() if value}})
    try:
        yield
    finally:
        _fields.reset(token)


def add(**fields: object) -> None:
    """Add these fields until the end of the block of `adding` that this thread or task is in."""
    if _fields.get(None) is not None:
        _fields.set({**current(), **fields})
