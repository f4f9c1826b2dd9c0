"""Log lines as JSON, with the same redaction as the lines for people."""

from datetime import UTC, datetime
from logging import LogRecord
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter as LibraryFormatter

from workers import log_context
from zekron_api.ops.log_redaction import Redaction

# The names in a line, and where their values come from. Libraries attach requests and arguments to their records, so
# nothing else is written.
_SOURCES: Final = {
    "time": "asctime",
    "level": "levelname",
    "logger": "name",
    "message": "message",
    **{name: name for name in (*log_context.FIELDS, "method", "route", "status", "ms", "error_code")},
    "exception": "exc_info",
}


class JsonFormatter(Redaction, LibraryFormatter):
    """A formatter that writes a record as one line of JSON. A field without a value is left out."""

    def formatTime(self, record: LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging names it)
        """Return the record's time in UTC, as ISO 8601 has it."""
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of the line, with those that the work at hand shares."""
        known = {**log_context.current(), **log_data}
        found = {name: known.get(source) for name, source in _SOURCES.items()}
        return {name: value for name, value in found.items() if value not in (None, "")}
