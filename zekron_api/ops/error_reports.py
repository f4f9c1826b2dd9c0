"""Reports of errors to a receiver that speaks Sentry's protocol: each line of the log at ERROR, with its traceback.

The library is told to collect nothing by itself. Of what it builds, only listed parts are sent, and all texts come from
the redaction of the log.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings

from workers import error_redaction, log_context
from workers.gpu_worker import build_id
from zekron_api.ops.log_redaction import Redaction

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

# A process that ends waits this long for its last report.
FLUSH_SECONDS: Final = 2.0
_OF_EVENT: Final = (
    "event_id",
    "timestamp",
    "level",
    "logger",
    "platform",
    "release",
    "environment",
    "server_name",
)
_OF_FRAME: Final = ("filename", "abs_path", "module", "function", "lineno", "in_app")
_TAGS: Final = (*log_context.FIELDS, "method", "route", "status", "error_code")
_message: Final = Redaction("%(message)s")


def start(*, dsn: str) -> None:
    """Report errors from now on, until the process ends.

    Raise ImportError without the library, and ValueError for an address that is none.
    """
    import sentry_sdk  # noqa: PLC0415 (an option)
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=dsn,
        release=build_id.digest(),
        before_send=_redact,
        integrations=[LoggingIntegration(level=None, event_level=logging.ERROR, sentry_logs_level=None)],
        default_integrations=False,
        auto_enabling_integrations=False,
        project_root=str(settings.BASE_DIR),
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        send_client_reports=False,
        auto_session_tracking=False,
        enable_backpressure_handling=False,
    )
    logging.root.addHandler(_Flush(logging.CRITICAL + 1))


class _Flush(logging.Handler):
    """A handler without a record. The end of logging, also that of a lost device's worker, flushes the reports."""

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Wait until the reports are sent, or until FLUSH_SECONDS have passed."""
        import sentry_sdk  # noqa: PLC0415

        sentry_sdk.flush(timeout=FLUSH_SECONDS)


def _redact(event: "Event", hint: "Hint") -> "Event | None":
    """Return the event that is sent in place of this one, or None for one that is not a line of the log."""
    record: logging.LogRecord | None = hint.get("log_record")
    if record is None:
        return None
    built = cast(Mapping[str, Any], event)
    sent = {name: built[name] for name in _OF_EVENT if name in built}
    plain = logging.makeLogRecord({**vars(record), "exc_info": None, "stack_info": None})
    known = {**log_context.current(), **vars(record)}
    sent["logentry"] = {"formatted": _message.format(plain)}
    sent["tags"] = {name: str(known[name]) for name in _TAGS if known.get(name) not in (None, "")}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        sent["exception"] = {"values": _describe(built.get("exception", {}).get("values", ()), error)}
    return cast("Event", sent)


def _describe(built: Sequence[Mapping[str, Any]], error: BaseException) -> list[dict[str, Any]]:
    """Return the exceptions of a chain with the part of each message that is safe, the cause first."""
    chain = list(reversed(list(error_redaction.iterate_chain(error))))
    # A group of exceptions is another tree in the library, and is sent without any message.
    summaries = (
        [error_redaction.describe(link) for link in chain] if len(chain) == len(built) else [""] * len(built)
    )
    return [
        {
            "type": each.get("type"),
            "module": each.get("module"),
            "value": summary,
            "stacktrace": {
                "frames": [_frame(frame) for frame in each.get("stacktrace", {}).get("frames", ())]
            },
        }
        for each, summary in zip(built, summaries, strict=True)
    ]


def _frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    return {name: frame[name] for name in _OF_FRAME if name in frame}
