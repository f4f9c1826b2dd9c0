"""What may be said of an exception in a log or on a row: its class and where it was raised.

Not its message, unless its class is known to quote nothing that a client sent. Others do: PostgreSQL shows the failing
row with its prompt, a tokenizer the text that it stumbled over, a decoder bytes of the picture.
"""

import traceback
from collections.abc import Iterator
from typing import Final

from django.db import InterfaceError, OperationalError

# Whose messages are written with this in mind, or are about devices and connections alone.
_QUOTE_NOTHING: Final = {"zekron_api", "workers", "billing", "storage", "torch", "redis", "kombu", "limits"}


def summary(error: BaseException) -> str:
    """One exception in words: its class, and what may be said besides."""
    besides = _besides(error)
    return f"{type(error).__qualname__}: {besides}" if besides else type(error).__qualname__


def trace(error: BaseException) -> str:
    """What Python prints of an exception and those that led to it, with `summary` for each message."""
    parts = []
    for link in reversed(list(_chain(error))):
        frames = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{summary(link)}")
    return "\n\n".join(parts)


def _besides(error: BaseException) -> str:
    package = type(error).__module__.partition(".")[0]
    has_number = isinstance(error, OSError) and error.errno is not None
    if package in _QUOTE_NOTHING or has_number or isinstance(error, OperationalError | InterfaceError):
        return str(error)
    # psycopg's own error, or Django's around it.
    diagnosis = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    return " ".join(filter(None, (getattr(diagnosis, name, None) for name in names)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what caused it or was being handled, newest first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
