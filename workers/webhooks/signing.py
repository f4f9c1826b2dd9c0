"""The signatures of webhooks, as Standard Webhooks 1.0.0 defines them. Its reference library makes them."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

PREFIX: Final = "whsec_"


def text_of(secret: bytes) -> str:
    """Return a secret as its owner gets it, and as libraries that verify take it."""
    return PREFIX + base64.b64encode(secret).decode()


def sign(*, secrets: Sequence[bytes], message_id: str, moment: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message, with one signature for each secret."""
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, moment, text) for secret in secrets),
    }
