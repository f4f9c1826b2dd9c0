"""The acceptance of a request for generations, with its idempotency key and the retries of clients that send none."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from django.http import HttpResponse
from rest_framework.request import Request

from billing import keys, secret_keys
from billing.models import Account
from workers import tracing
from workers.lifecycle import idempotency, lost_clients
from zekron_api.endpoints import create_generation
from zekron_api.endpoints.create_generation import Created
from zekron_api.http import errors
from zekron_api.http.authentication import caller_of
from zekron_api.http.request_origin import origin_of
from zekron_api.waiting.deferred_response import DeferredResponse

_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")
# A part of the AI SDK's User-Agent.
_REPEATS_UNCOUNTED: Final = "ai-sdk"


class Accepted(NamedTuple):
    """A request that was accepted. `on_lost` is called if its client gets no image by the reply."""

    created: Created
    on_lost: Callable[[], None] | None

    def mark(self, response: HttpResponse) -> None:
        """Say in the headers of the reply that the request was accepted before, and to which trace it belongs."""
        if isinstance(response, DeferredResponse):
            response.traceparent = self.created.generation.traceparent
        if self.created.replayed:
            response["Idempotent-Replayed"] = "true"
        if self.created.attached:
            response["X-Zekron-Retry-Attached"] = "true"


def accept(
    request: Request,
    *,
    account: Account,
    fields: dict[str, Any],
    queue_seconds: int | None = None,
    is_waited_for: bool = True,
    takes_key: bool = True,
    route: str = "",
) -> Accepted:
    """Submit the validated fields of a GenerateSerializer, or find what was accepted for this request before.

    `queue_seconds` is for asynchronous work. A client that does not wait cannot be lost. `route` tells requests apart
    whose replies have another form. The header Idempotency-Key is for those who know the account, unlike visitors.
    Raises InvalidIdempotencyKey, and the exceptions of `create_generation.create`.
    """
    key = _idempotency_key(request) if takes_key else None
    # A digest reads every source image, and a retry with a key of its own needs none.
    digests = _retry_digests(request, fields, route) if key is None else []
    origin = origin_of(request)
    with tracing.span("accept", parent=origin.traceparent, may_begin=True) as traceparent:
        created = create_generation.create(
            account=account,
            caller=caller_of(request),
            fields=fields,
            idempotency_key=key,
            queue_seconds=queue_seconds,
            lost_digests=digests if _may_be_retry(request) else (),
            route=route,
            origin=origin._replace(traceparent=traceparent),
        )
    on_lost = None
    if is_waited_for and digests:
        on_lost = partial(lost_clients.note, generation_id=created.generation.pk, digest=digests[0])
    return Accepted(created, on_lost)


def _may_be_retry(request: Request) -> bool:
    """Return whether the client's library may send the request again.

    The official clients of OpenAI count their tries. The AI SDK repeats any broken connection and any 5xx, and counts
    nothing.
    """
    count = request.headers.get("x-stainless-retry-count", "")
    is_counted = count.isascii() and count.isdigit() and count.strip("0") != ""
    return is_counted or _REPEATS_UNCOUNTED in request.headers.get("User-Agent", "")


def _retry_digests(request: Request, fields: dict[str, Any], route: str) -> list[str]:
    """Return the digests of API key and request, by which a retry finds the generation of its first try.

    There is one under each secret key, the present one first.
    """
    api_key = request.headers.get("Authorization", "").partition(" ")[2].strip()
    content = create_generation.content_of(fields, route=route)
    return secret_keys.with_each(
        lambda secret_key: idempotency.digest_of(
            request=[keys.digest(api_key, secret_key=secret_key), *content], secret_key=secret_key
        )
    )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise errors.InvalidIdempotencyKey
    return key
