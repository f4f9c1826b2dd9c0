"""The redaction of logs: they hold no key, token, prompt or image."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

from workers import error_redaction, log_context


class WithoutPaths(logging.Filter):
    """A filter for `django.request`, which logs a path that may hold an image's token.

    It drops the line about a refused request, which only repeats the request's own line, and keeps one about an
    exception.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; replace the message of one that is."""
        if not record.exc_info:
            return False
        record.msg, record.args = "unexpected exception in a view", ()
        return True


class WithoutTraceback(logging.Filter):
    """A filter for errors of clients, whose message says all: a warning in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; take the traceback away."""
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        return True


class Redaction(logging.Formatter):
    """A formatter that writes an exception as its frames and the summary of `error_redaction`, never as its text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, and the trace of its exception."""
        described = copy.copy(record)
        # The formatter of another handler may have cached its own text here.
        described.exc_text = None
        described.msg = _described(record.msg)
        described.args = _described_all(record)
        return super().format(described)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging names it)
        """Return the chain of exceptions and their frames."""
        return error_redaction.format_traceback(ei[1])


class LineFormatter(Redaction):
    """A formatter for people. A line that does not begin with the id of its request ends with it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line without the trace of its exception."""
        line = super().formatMessage(record)
        request_id = str(log_context.current().get("request_id", ""))
        return line if request_id in line else f"{line} (request {request_id})"


def _described(value: Any) -> Any:
    return error_redaction.summarise(value) if isinstance(value, BaseException) else value


def _described_all(record: logging.LogRecord) -> Any:
    if not isinstance(record.args, Mapping):
        return tuple(_described(value) for value in record.args or ())
    described = {name: _described(value) for name, value in record.args.items()}
    if record.name == "celery.app.trace" and "exc" in described:
        # Celery passes a failed task's exception as text, and its traceback a second time.
        error = record.exc_info[1] if record.exc_info else None
        described |= {"exc": error_redaction.summarise(error) if error else "an exception", "traceback": ""}
    return described
