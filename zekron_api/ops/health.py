"""The health checks: /healthz for this process, /readyz for the whole service."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import orjson
import redis
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection as broker

# Anyone may request it, so the parts are checked at most once in this time.
_FRESH_SECONDS = 1.0
_last: tuple[float, dict[str, dict[str, Any]]] = (0.0, {})


# Exempt from CSRF checks, so that a wrong method gets a 405 and not a 403 for a missing cookie.
@csrf_exempt
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Reply to GET /healthz with 200 as long as the process runs."""
    return _json({"status": "ok"}, 200)


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Reply to GET /readyz with 200 when every part works, else with 503.

    The body names the state of each part and counts live workers.
    """
    global _last  # noqa: PLW0603 (one short cache a process; two threads may both check the parts)
    asked_at, found = _last
    if not found or time.monotonic() - asked_at > _FRESH_SECONDS:
        parts = {name: _works(check) for name, check in CHECKS.items()}
        found = {"parts": parts, "workers": _workers()}
        _last = (time.monotonic(), found)
    is_ready = all(found["parts"].values())
    return _json({"status": "ok" if is_ready else "unavailable", **found}, 200 if is_ready else 503)


def _works(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (DatabaseError, redis.RedisError, OSError):
        return False


def _database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def _store() -> bool:
    store = storages["objects"]
    name = store.save(f"readyz/{secrets.token_hex(8)}", ContentFile(b"ready"))
    store.delete(name)
    return True


def _worker() -> bool:
    """Return whether a worker serves the default model. For other models a missing worker means 503 service_busy."""
    return any(worker.makes(DEFAULT_MODEL) for worker in worker_registry.list_alive())


def _workers() -> dict[str, dict[str, int]]:
    """Count live workers for each model and each queue; return nothing while Redis is unavailable."""
    try:
        alive = worker_registry.list_alive()
    except redis.RedisError:
        return {}
    models = catalogue()
    consumed = [queue for worker in alive if worker.details for queue in worker.details.queues]
    return {
        "models": {name: sum(worker.makes(name) for worker in alive) for name in models},
        "queues": {model.queue: consumed.count(model.queue) for model in models.values()},
    }


CHECKS: dict[str, Callable[[], bool]] = {
    "database": _database,
    "redis": lambda: bool(broker().ping()),
    "store": _store,
    "worker": _worker,
}


def _json(value: dict[str, object], status: int) -> HttpResponse:
    response = HttpResponse(orjson.dumps(value), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response
