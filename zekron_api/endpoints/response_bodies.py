"""The bodies of replies, made from rows alone."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pybase64
from django.conf import settings

from billing.models import Account
from billing.money import format_usd
from workers.lifecycle import image_tokens
from workers.models import Generation

# No value contains this: a quotation mark inside of one is written with a backslash before it.
_PLACE_OF_THE_IMAGE: Final = b'"b64_json":"'


def generation_body(generation: Generation, content: bytes, account: Account) -> bytes:
    """The JSON of `generation_reply`, to the byte; its megabytes are written once, and no parser looks at them."""
    around = orjson.dumps(generation_reply(generation, b"", account))
    before, place, after = around.partition(_PLACE_OF_THE_IMAGE)
    return b"".join((before, place, pybase64.b64encode(content), after))


def generation_reply(generation: Generation, content: bytes, account: Account) -> dict[str, Any]:
    """The reply to POST /v1/generate for a completed generation with these image bytes."""
    assert generation.image is not None
    assert generation.cost_micros is not None
    assert generation.expires_at is not None
    token = image_tokens.token_of(generation_id=generation.pk)
    return {
        "success": True,
        "data": {
            "id": generation.pk,
            "token": token,
            "type": generation.kind,
            "model": generation.model,
            "prompt": generation.prompt,
            "size": generation.size,
            "image": {
                "url": _image_url(token),
                "b64_json": pybase64.b64encode_as_string(content),
                "mime_type": generation.image.mime_type,
                "expires_at": _time(generation.expires_at),
            },
            "cost": format_usd(generation.cost_micros),
            "remaining_balance": format_usd(account.balance_micros),
        },
        "created_at": _time(generation.created_at),
    }


def balance_reply(account: Account) -> dict[str, Any]:
    """The reply to GET /v1/balance: what is settled, and beside it what open generations hold."""
    return {
        "success": True,
        "data": {
            "balance": format_usd(account.balance_micros),
            "total_spent": format_usd(account.spent_micros),
            "total_generations": account.settlement_count,
            "currency": "USD",
            "reserved": format_usd(account.reserved_micros),
            "available": format_usd(account.balance_micros - account.reserved_micros),
        },
    }


def history_reply(generations: list[Generation], total: int, limit: int, offset: int) -> dict[str, Any]:
    """The reply to GET /v1/generations: one page, newest first."""
    return {
        "success": True,
        "data": {
            "generations": [_history_row(generation) for generation in generations],
            "pagination": {
                "total": total,
                "limit": limit,
                "offset": offset,
                "has_more": offset + len(generations) < total,
            },
        },
    }


def _history_row(generation: Generation) -> dict[str, Any]:
    """What has no image has no token, url or expiry, and what was not charged cost nothing."""
    token = image_tokens.token_of(generation_id=generation.pk) if generation.token_digest else None
    return {
        "id": generation.pk,
        "token": token,
        "prompt": generation.prompt,
        "model": generation.model,
        "size": generation.size,
        "cost": format_usd(generation.cost_micros or 0),
        "status": generation.status,
        "type": generation.kind,
        "image_url": _image_url(token) if token else None,
        "expires_at": _time(generation.expires_at) if generation.expires_at else None,
        "created_at": _time(generation.created_at),
    }


def _image_url(token: str) -> str:
    return f"{settings.PUBLIC_URL}/v1/images/{token}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
