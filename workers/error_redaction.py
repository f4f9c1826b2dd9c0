"""Redaction of exceptions for logs and rows: the class and the place remain.

The message remains only if its class is known to quote nothing that a client sent. Other messages may quote it:
PostgreSQL shows the failing row with its prompt, a tokenizer shows the text, and a decoder shows bytes of the picture.
"""

import traceback
from collections.abc import Iterator
from typing import Final

from django.db import InterfaceError, OperationalError

# The messages of these packages avoid client data, or are about devices and connections alone.
_QUOTE_NOTHING: Final = {"zekron_api", "workers", "billing", "storage", "torch", "redis", "kombu", "limits"}


def summarise(error: BaseException) -> str:
    """Return the exception's class, followed by the part of its message that is safe to log."""
    besides = describe(error)
    return f"{type(error).__qualname__}: {besides}" if besides else type(error).__qualname__


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an exception and of its causes, with `summarise` in place of each message."""
    parts = []
    for link in reversed(list(iterate_chain(error))):
        frames = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{summarise(link)}")
    return "\n\n".join(parts)


def describe(error: BaseException) -> str:
    """Return the part of the exception's message that is safe to log, which may be empty."""
    package = type(error).__module__.partition(".")[0]
    has_number = isinstance(error, OSError) and error.errno is not None
    if package in _QUOTE_NOTHING or has_number or isinstance(error, OperationalError | InterfaceError):
        return str(error)
    # The diagnosis is on psycopg's own error, which Django's error may wrap.
    diagnosis = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    return " ".join(filter(None, (getattr(diagnosis, name, None) for name in names)))


def iterate_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, then its causes or the exceptions handled before it, newest first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
