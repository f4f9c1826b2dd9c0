"""The bodies of replies, written from database rows by `reply_serializers.py`."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import orjson
import pybase64

from billing import alerts
from billing.models import Account
from workers.lifecycle.history import Page
from workers.models import Generation
from workers.webhooks import endpoints
from zekron_api.endpoints import reply_serializers

# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_GENERATE: Final = reply_serializers.GenerateReplySerializer()
_BALANCE: Final = reply_serializers.BalanceReplySerializer()
_HISTORY: Final = reply_serializers.HistoryReplySerializer()

# It stands for the bytes of an image until `put_images`. It is random, so that no client can write it into a reply.
PLACEHOLDER: Final = secrets.token_bytes(24)
# The same in base64, as it stands in a reply.
PLACEHOLDER_TEXT: Final = pybase64.b64encode_as_string(PLACEHOLDER)


def generation_body(generation: Generation, content: bytes, account: Account) -> bytes:
    """Return the JSON of `generation_reply`, byte for byte, without passing the image through a serializer."""
    return put_images(orjson.dumps(generation_reply(generation, PLACEHOLDER, account)), [content])


def generation_reply(generation: Generation, content: bytes, account: Account) -> dict[str, Any]:
    """Return the reply to POST /v1/generate for a completed generation with these image bytes."""
    return _GENERATE.to_representation(reply_serializers.Finished(generation, content, account))


def group_body(made: Sequence[tuple[Generation, bytes]], account: Account, *, failed_count: int) -> bytes:
    """Return the JSON of the reply to a request for several images: those that were made, of which there is one.

    The first one stands where the reply to a request for one image has it, and again in the list of all.
    """
    images = [reply_serializers.Finished(generation, PLACEHOLDER, account) for generation, _ in made]
    group = reply_serializers.FinishedGroup(*images[0], images, failed_count)
    contents = [content for _, content in made]
    return put_images(orjson.dumps(_GENERATE.to_representation(group)), [contents[0], *contents])


def put_images(written: bytes, contents: Sequence[bytes]) -> bytes:
    """Return the written reply with these images in place of its placeholders.

    An image has megabytes of base64, which are encoded and copied once for each of its places.
    """
    first, *others = written.split(PLACEHOLDER_TEXT.encode())
    parts = [first]
    for content, after in zip(contents, others, strict=True):
        parts += (pybase64.b64encode(content), after)
    return b"".join(parts)


def balance_reply(account: Account) -> dict[str, Any]:
    """Return the reply to GET /v1/balance: the settled amounts, and the amount that open generations hold.

    A debt is named only if there is one, and alerts only if some hold.
    """
    reply: dict[str, Any] = _BALANCE.to_representation(account)
    if not account.debt_micros:
        del reply["data"]["debt"]
    found = list(alerts.list_current(account))
    if account.disabled_webhook_count:
        disabled = endpoints.list_disabled(account_id=account.pk)
        found += [{"type": "webhook_disabled", "webhook_id": endpoint.pk} for endpoint in disabled]
    if found:
        reply["data"]["alerts"] = found
    return reply


def history_reply(generations: list[Generation], total: int, limit: int, offset: int) -> dict[str, Any]:
    """Return the reply to GET /v1/generations: one page, newest first."""
    has_more = offset + len(generations) < total
    pagination = {"total": total, "limit": limit, "offset": offset, "has_more": has_more}
    return _HISTORY.to_representation({"generations": generations, "pagination": pagination})


def cursor_reply(page: Page, total: int | None, limit: int) -> dict[str, Any]:
    """Return the reply to GET /v1/generations with filters or a cursor. `total` is None where it is not counted."""
    pagination = {
        "total": total,
        "limit": limit,
        "offset": 0,
        "has_more": page.next_before is not None,
        "next_before": page.next_before,
    }
    return _HISTORY.to_representation({"generations": page.generations, "pagination": pagination})
