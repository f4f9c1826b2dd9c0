"""C4's A: the same request in Django's own ASGI handler, whose asynchronous view waits for the same event.

It has only middleware that can be asynchronous. Around any other middleware, Django blocks a thread while a view
waits.
"""

import asyncio
import json
import os
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
django.setup(set_prefix=False)
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
# Django's manual says so for ASGI: no thread would use its connection again.
settings.DATABASES["default"]["CONN_MAX_AGE"] = 0

from django.core.handlers.asgi import ASGIHandler  # noqa: E402 (all of these need the settings)
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from billing import keys  # noqa: E402
from workers.lifecycle import queries  # noqa: E402
from zekron_api.endpoints import create_generation, generation_response  # noqa: E402
from zekron_api.endpoints.serializers import GenerateSerializer  # noqa: E402
from zekron_api.http import rate_limit  # noqa: E402
from zekron_api.waiting.completion_waiters import CompletionWaiters  # noqa: E402

_listeners: set["asyncio.Task[None]"] = set()


async def _find_ended(generation_ids: Any) -> set[int]:
    return await sync_to_async(queries.find_ended)(generation_ids=generation_ids)


waiters = CompletionWaiters(ended_among=_find_ended)


async def generate(request: HttpRequest) -> HttpResponse:
    """Answer POST /v1/generate."""
    if not _listeners:
        _listeners.add(asyncio.create_task(waiters.listen()))
    generation_id = await sync_to_async(_create)(request)
    ended = waiters.add(generation_id)
    try:
        async with asyncio.timeout(settings.SYNC_WAIT_SECONDS):
            await ended
    finally:
        waiters.remove(generation_id, ended)
    return await sync_to_async(generation_response.build)(generation_id=generation_id)


def _create(request: HttpRequest) -> int:
    account = keys.authenticate(text=request.headers["Authorization"].removeprefix("Bearer ")).account
    rate_limit.consume(account=account)
    fields = GenerateSerializer(data=json.loads(request.body))
    fields.is_valid(raise_exception=True)
    created = create_generation.create(account=account, fields=fields.validated_data, idempotency_key=None)
    return created.generation.pk


urlpatterns = [path("v1/generate", generate)]
application = ASGIHandler()
