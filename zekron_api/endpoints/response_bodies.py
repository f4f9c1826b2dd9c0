"""The bodies of replies, written from database rows by `reply_serializers.py`."""

from typing import Any, Final

import orjson
import pybase64

from billing.models import Account
from workers.lifecycle.history import Page
from workers.models import Generation
from zekron_api.endpoints import reply_serializers

# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_GENERATE: Final = reply_serializers.GenerateReplySerializer()
_BALANCE: Final = reply_serializers.BalanceReplySerializer()
_HISTORY: Final = reply_serializers.HistoryReplySerializer()

# JSON escapes the quotation marks inside a value, so no value contains this text.
_IMAGE_MARK: Final = b'"b64_json":"'


def generation_body(generation: Generation, content: bytes, account: Account) -> bytes:
    """Return the JSON of `generation_reply`, byte for byte, without passing the image through a serializer."""
    return put_image(orjson.dumps(generation_reply(generation, b"", account)), content)


def put_image(written: bytes, content: bytes) -> bytes:
    """Return the written reply, whose `b64_json` is empty, with this image.

    The image has megabytes of base64, which are encoded once and copied once.
    """
    before, mark, after = written.partition(_IMAGE_MARK)
    return b"".join((before, mark, pybase64.b64encode(content), after))


def generation_reply(generation: Generation, content: bytes, account: Account) -> dict[str, Any]:
    """Return the reply to POST /v1/generate for a completed generation with these image bytes."""
    return _GENERATE.to_representation(reply_serializers.Finished(generation, content, account))


def balance_reply(account: Account) -> dict[str, Any]:
    """Return the reply to GET /v1/balance: the settled amounts, and the amount that open generations hold."""
    return _BALANCE.to_representation(account)


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
