"""The health checks: /healthz for this process, /readyz for the whole service or, with `of`, for one role."""

import logging
from functools import partial
from typing import Any, Final

import orjson
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from workers.catalogue import DEFAULT_MODEL
from zekron_api.http import errors
from zekron_api.http.pending_check import PendingCheckResponse
from zekron_api.ops import readiness

log = logging.getLogger(__name__)

_JSON: Final = "application/json"
# The query parameter that names a role, and the parts without which each role does not work. Web processes accept
# requests without a worker and without Redis, so a load balancer that took them out of service would be the outage.
ROLE: Final = "of"
NEEDED_BY: Final = {"web": frozenset({"database", "store"})}
# The parts as they were last logged.
_logged: dict[str, bool] = {}


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Reply to GET /healthz with 200 as long as the process runs."""
    return _unstored(HttpResponse(orjson.dumps({"status": "ok"}), content_type=_JSON))


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Reply to GET /readyz with 200 when every part works, else with 503.

    The body names the state of each part and counts live workers. With `of=web`, only the parts that web processes need
    decide, and workers are not looked for.
    """
    role = request.GET.get(ROLE)
    if role is not None and role not in NEEDED_BY:
        return _unstored(errors.reply_to(unknown_role()))
    checks: list[readiness.SharedCheck[Any]] = [*readiness.PARTS.values()]
    if role is None:
        checks.append(readiness.WORKERS)
    started = [(check.start(), check.wait_seconds()) for check in checks]
    waited = {future: seconds for future, seconds in started if seconds > 0 and not future.done()}
    return _unstored(
        PendingCheckResponse(
            futures=waited,
            wait_seconds=max(waited.values(), default=0.0),
            complete=_complete if role is None else partial(_complete_of, role),
            content_type=_JSON,
        )
    )


def unknown_role() -> errors.InvalidField:
    """Return the error of a request for the readiness of another role."""
    message = f"{ROLE} must be one of: {', '.join(NEEDED_BY)}. Without it, the whole service is checked."
    return errors.InvalidField("invalid_parameter", message, field=ROLE)


# Load balancers ask by the address of the machine, so these replies do not depend on the header Host.
PROBES: Final = {"/healthz": alive, "/readyz": ready}


def _complete() -> tuple[int, bytes]:
    workers = readiness.WORKERS.result()
    parts = _results()
    # For other models a missing worker means 503 service_busy.
    parts["worker"] = bool(workers.get("models", {}).get(DEFAULT_MODEL))
    _log_changes(parts)
    return _describe(all(parts.values()), parts=parts, workers=workers)


def _complete_of(role: str) -> tuple[int, bytes]:
    parts = _results()
    _log_changes(parts)
    return _describe(all(parts[name] for name in NEEDED_BY[role]), parts=parts)


def _results() -> dict[str, bool]:
    return {name: check.result() for name, check in readiness.PARTS.items()}


def _describe(is_ready: bool, **found: Any) -> tuple[int, bytes]:
    content = orjson.dumps({"status": "ok" if is_ready else "unavailable", **found})
    return 200 if is_ready else 503, content


def _log_changes(parts: dict[str, bool]) -> None:
    """Log each part that stopped or started to work since the last request. A line for each request would be noise."""
    for name, works in parts.items():
        if _logged.get(name, True) != works:
            log.warning("Readiness: %s %s.", name, "works again" if works else "does not work")
        _logged[name] = works


def _unstored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
