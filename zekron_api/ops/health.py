"""The health checks: /healthz for this process, /readyz for the whole service."""

import logging
from typing import Any, Final

import orjson
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from workers.catalogue import DEFAULT_MODEL
from zekron_api.http.pending_check import PendingCheckResponse
from zekron_api.ops import readiness

log = logging.getLogger(__name__)

_JSON: Final = "application/json"
# The parts as they were last logged.
_logged: dict[str, bool] = {}


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Reply to GET /healthz with 200 as long as the process runs."""
    return _unstored(HttpResponse(orjson.dumps({"status": "ok"}), content_type=_JSON))


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Reply to GET /readyz with 200 when every part works, else with 503.

    The body names the state of each part and counts live workers.
    """
    checks: list[readiness.SharedCheck[Any]] = [*readiness.PARTS.values(), readiness.WORKERS]
    started = [(check.start(), check.wait_seconds()) for check in checks]
    waited = {future: seconds for future, seconds in started if seconds > 0 and not future.done()}
    return _unstored(
        PendingCheckResponse(
            futures=waited,
            wait_seconds=max(waited.values(), default=0.0),
            complete=_complete,
            content_type=_JSON,
        )
    )


# Load balancers ask by the address of the machine, so these replies do not depend on the header Host.
PROBES: Final = {"/healthz": alive, "/readyz": ready}


def _complete() -> tuple[int, bytes]:
    workers = readiness.WORKERS.result()
    parts = {name: check.result() for name, check in readiness.PARTS.items()}
    # For other models a missing worker means 503 service_busy.
    parts["worker"] = bool(workers.get("models", {}).get(DEFAULT_MODEL))
    _log_changes(parts)
    is_ready = all(parts.values())
    found: dict[str, Any] = {
        "status": "ok" if is_ready else "unavailable",
        "parts": parts,
        "workers": workers,
    }
    return 200 if is_ready else 503, orjson.dumps(found)


def _log_changes(parts: dict[str, bool]) -> None:
    """Log each part that stopped or started to work since the last request. A line for each request would be noise."""
    for name, works in parts.items():
        if _logged.get(name, True) != works:
            log.warning("Readiness: %s %s.", name, "works again" if works else "does not work")
        _logged[name] = works


def _unstored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
