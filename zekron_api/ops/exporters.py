"""The start of what a process sends to other services of its operator: traces and reports of errors."""

from django.conf import settings

from workers import tracing
from zekron_api.config.env import InvalidVariable
from zekron_api.ops import error_reports


def start(*, process: str) -> None:
    """Start what the settings ask for. End the process with one line if its library is missing."""
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        try:
            tracing.start(endpoint=settings.OTEL_EXPORTER_OTLP_ENDPOINT, service_name=f"zekron-{process}")
        except ImportError:
            raise _missing("OTEL_EXPORTER_OTLP_ENDPOINT", "requirements/otel.txt") from None
    if settings.SENTRY_DSN:
        try:
            error_reports.start(dsn=settings.SENTRY_DSN)
        except ImportError:
            raise _missing("SENTRY_DSN", "requirements/sentry.txt") from None
        except ValueError:
            # The library's message quotes the address, which holds a key.
            raise InvalidVariable("SENTRY_DSN", "is not of the form https://key@host/project") from None


def _missing(variable: str, requirements: str) -> InvalidVariable:
    return InvalidVariable(variable, f"is set, but {requirements} is not installed")
