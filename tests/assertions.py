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


def openai_refusal(response: Any) -> tuple[int, str]:
    """Check an error in the form of OpenAI's API; return its status and its code."""
    body = response.json()
    assert response["Content-Type"] == "application/json"
    assert set(body) == {"error"}
    more = {"generation_id", "generation_ids"}
    assert set(body["error"]) - more == {"message", "type", "param", "code", "reference"}
    assert re.fullmatch(r"[A-Z0-9_]+_[0-9A-F]{6}_\d{10}", body["error"]["reference"])
    return response.status_code, body["error"]["code"]
