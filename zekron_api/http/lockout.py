"""What a browser is told that has failed to log in too often."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from workers.lifecycle import error_codes
from zekron_api.http import errors

ERROR_TYPE = "too_many_logins"


def reply(request: HttpRequest, response: HttpResponse | None, credentials: Any) -> HttpResponse:
    """429 in the envelope, the right password or not; `axes` calls this while the lockout lasts."""
    wait_seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    message = (
        f"Too many failed logins; try again in {wait_seconds // 60} minutes, or ask whoever runs the service."
    )
    code = error_codes.new_code(error_type=ERROR_TYPE)
    refusal = errors.envelope(429, ERROR_TYPE, message, code)
    refusal["Retry-After"] = str(wait_seconds)
    return refusal
