"""Checks that tests of several modules share."""

import re
from typing import Any


def refusal(response: Any) -> tuple[int, str]:
    """Check the envelope of an error response; return its status and its type."""
    body = response.json()
    assert response["Content-Type"] == "application/json"
    assert body["success"] is False
    assert set(body["error"]) - {"generation_id", "generation_ids"} == {"message", "code", "type", "support"}
    assert re.fullmatch(r"[A-Z0-9_]+_[0-9A-F]{6}_\d{10}", body["error"]["code"])
    assert body["error"]["code"].startswith(body["error"]["type"].upper())
    assert body["error"]["support"] == f"Contact support with error code: {body['error']['code']}"
    return response.status_code, body["error"]["type"]
