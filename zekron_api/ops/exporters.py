"""The start of what a process sends to other services of its operator: traces."""

from django.conf import settings

from workers import tracing
from zekron_api.config.env import InvalidVariable


def start(*, process: str) -> None:
    """Start what the settings ask for. End the process with one line if its library is missing."""
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        try:
            tracing.start(endpoint=settings.OTEL_EXPORTER_OTLP_ENDPOINT, service_name=f"zekron-{process}")
        except ImportError:
            raise _missing("OTEL_EXPORTER_OTLP_ENDPOINT", "requirements/otel.txt") from None


def _missing(variable: str, requirements: str) -> InvalidVariable:
    return InvalidVariable(variable, f"is set, but {requirements} is not installed")
