"""Keeps out of the logs what must not be there: keys, tokens, prompts, images."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

from workers import error_redaction


class WithoutPaths(logging.Filter):
    """For `django.request`, which names a path that may hold an image's token.

    Its line about a refused request says nothing that the request's own line does not; one about an exception stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if not record.exc_info:
            return False
        record.msg, record.args = "an exception that no view expected", ()
        return True


class LineFormatter(logging.Formatter):
    """One line a record, and the frames of its exception; of every exception only what `failures` says of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        described = copy.copy(record)
        # Another handler's formatter may have left its own text here.
        described.exc_text = None
        described.msg = _described(record.msg)
        described.args = _described_all(record)
        return super().format(described)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        """The exceptions and their frames."""
        return error_redaction.trace(ei[1])


def _described(value: Any) -> Any:
    return error_redaction.summary(value) if isinstance(value, BaseException) else value


def _described_all(record: logging.LogRecord) -> Any:
    if not isinstance(record.args, Mapping):
        return tuple(_described(value) for value in record.args or ())
    described = {name: _described(value) for name, value in record.args.items()}
    if record.name == "celery.app.trace" and "exc" in described:
        # Celery gives a failed task's exception as text, and its traceback a second time.
        error = record.exc_info[1] if record.exc_info else None
        described |= {"exc": error_redaction.summary(error) if error else "an exception", "traceback": ""}
    return described
