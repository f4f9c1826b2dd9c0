"""The reply with an image: the same JSON as any renderer's, however it is put together."""

import base64
import json
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.models import Account
from storage.models import StoredImage
from workers.models import Generation, Kind, Status
from zekron_api.endpoints import response_bodies

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def completed(prompt: str = "a boat") -> Generation:
    return Generation(
        pk=42,
        kind=Kind.CREATE,
        model="zekron-image-1",
        prompt=prompt,
        parameters={"width": 512, "height": 512, "seed": 1},
        quote_micros=26_700,
        cost_micros=26_700,
        status=Status.COMPLETED,
        image=StoredImage(mime_type="image/png"),
        created_at=NOON,
        expires_at=NOON,
    )


def body(content: bytes, prompt: str = "a boat") -> bytes:
    return response_bodies.generation_body(completed(prompt), content, Account(balance_micros=9_973_300))


@pytest.mark.parametrize(
    "prompt",
    [
        '"b64_json":"',
        '","b64_json":"","x":"',
        '\\"b64_json\\":\\"',
        '\\\\"b64_json":"',
        "b64_json",
        "Ein Böötchen \N{SAILBOAT}\n\u2028\\",
    ],
)
def test_no_prompt_is_taken_for_the_place_of_the_image(prompt: str) -> None:
    data = json.loads(body(b"an image", prompt))["data"]
    assert data["prompt"] == prompt
    assert data["image"]["b64_json"] == base64.b64encode(b"an image").decode()


@given(content=st.binary(max_size=2000), prompt=st.text(st.characters(exclude_categories=["Cs"])))
def test_the_body_is_the_reply_as_json_to_the_byte(content: bytes, prompt: str) -> None:
    account = Account(balance_micros=9_973_300)
    reply = response_bodies.generation_reply(completed(prompt), content, account)
    assert response_bodies.generation_body(completed(prompt), content, account) == orjson.dumps(reply)
    assert json.loads(body(content, prompt)) == reply
