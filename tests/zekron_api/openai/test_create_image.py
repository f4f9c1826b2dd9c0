"""POST /v1/images/generations: the same requests as POST /v1/generate, in OpenAI's words."""

import base64
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from billing.audit import audit as audit_money
from tests import factories
from tests.assertions import openai_refusal
from tests.zekron_api.callers import Caller
from tests.zekron_api.openai.conftest import Send
from workers.engine.interface import ImageOrder, OutOfDeviceMemory
from workers.models import Generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def error_of(reply: Any, status: int) -> dict[str, Any]:
    """Return the error of a reply with this status."""
    assert openai_refusal(reply)[0] == status
    error: dict[str, Any] = reply.json()["error"]
    return error


@pytest.fixture
def broken_seeds(engine: factories.StandInEngine, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the seeds, none at first, with which the engine makes no picture."""
    broken: set[int] = set()
    make = engine.generate

    def generate(orders: Sequence[ImageOrder], **options: Any) -> Any:
        if any(order.seed in broken for order in orders):
            raise OutOfDeviceMemory("too large")
        return make(orders, **options)

    monkeypatch.setattr(engine, "generate", generate)
    return broken


def test_an_image_is_made_charged_and_sent_with_its_bytes_and_its_address(me: Caller, create: Send) -> None:
    reply = create()
    assert reply.status_code == 200
    body = reply.json()
    generation = Generation.objects.get()
    [image] = body["data"]
    assert body["created"] == int(generation.created_at.timestamp())
    assert (image["id"], image["seed"]) == (generation.pk, generation.parameters["seed"])
    assert (body["size"], body["output_format"], body["background"]) == ("512x512", "png", "opaque")
    content = base64.b64decode(image["b64_json"])
    assert Image.open(io.BytesIO(content)).size == (512, 512)
    assert me.get(image["url"].removeprefix("http://testserver")).content == content
    assert body["usage"]["cost"] == reply["X-Zekron-Cost"]
    assert body["usage"]["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 0}
    assert body["usage"]["total_tokens"] == 2 + 32 * 32
    assert Decimal(reply["X-Zekron-Remaining-Balance"]) == 10 - Decimal(body["usage"]["cost"])
    assert [*audit_money()] == []


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({}, {"b64_json", "url"}),
        ({"response_format": "b64_json"}, {"b64_json"}),
        ({"response_format": "url"}, {"url"}),
    ],
)
def test_the_kinds_of_content_are_those_that_were_asked_for(
    create: Send, asked: dict[str, str], kinds: set[str]
) -> None:
    [image] = create(**asked).json()["data"]
    assert {"b64_json", "url"} & set(image) == kinds


def test_several_images_come_in_their_order_with_the_cost_of_all(create: Send) -> None:
    reply = create(n=3, seed=7, response_format="url")
    body = reply.json()
    assert [image["seed"] for image in body["data"]] == [7, 8, 9]
    assert (body["failed"], body["usage"]["output_tokens"]) == (0, 3 * 32 * 32)
    assert Decimal(body["usage"]["cost"]) == sum(
        each.cost_micros for each in Generation.objects.all()
    ) / Decimal(1_000_000)


def test_formats_and_their_compression_are_the_services_own(create: Send) -> None:
    body = create(output_format="webp", output_compression=70).json()
    assert body["output_format"] == "webp"
    assert Image.open(io.BytesIO(base64.b64decode(body["data"][0]["b64_json"]))).format == "WEBP"
    # OpenAI's default compression asks for nothing of a PNG, and any other one does.
    assert create(output_compression=100).status_code == 200
    assert error_of(create(output_compression=70), 400)["param"] == "output_compression"


def test_what_openai_has_and_nobody_misses_is_accepted(create: Send) -> None:
    fields = {
        "quality": "hd",
        "style": "natural",
        "user": "u",
        "safety_identifier": "s",
        "moderation": "low",
        "complexity": "high",
        "background": "opaque",
        "partial_images": 0,
        "stream": False,
        "response_format": None,
        "frame_count": None,
        "metadata": {"order": "7"},
    }
    assert create(**fields).status_code == 200
    assert Generation.objects.get().parameters["metadata"] == {"order": "7"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": ""}, "prompt", "missing_prompt"),
        ({"prompt": None}, "prompt", "missing_prompt"),
        ({"prompt": "x" * 4001}, "prompt", "prompt_too_long"),
        ({"model": "dall-e-2"}, "model", "model_not_found"),
        ({"size": "100x100"}, "size", "invalid_size"),
        ({"n": 11}, "n", "invalid_parameter"),
        ({"n": 5}, "n", "invalid_parameter"),
        ({"quality": "best"}, "quality", "invalid_parameter"),
        ({"style": "loud"}, "style", "invalid_parameter"),
        ({"user": 7}, "user", "invalid_parameter"),
        ({"safety_identifier": "x" * 513}, "safety_identifier", "invalid_parameter"),
        ({"background": "transparent"}, "background", "unsupported_parameter"),
        ({"output_format": "gif"}, "output_format", "invalid_parameter"),
        ({"frame_count": 4}, "frame_count", "unsupported_parameter"),
        ({"frame_duration_ms": 40}, "frame_duration_ms", "unsupported_parameter"),
        ({"svg": {}}, "svg", "unsupported_parameter"),
        ({"async": True}, "async", "unsupported_parameter"),
        ({"queue_ttl": 10}, "queue_ttl", "unsupported_parameter"),
        ({"partial_images": 2}, "partial_images", "invalid_parameter"),
        ({"stream": True, "response_format": "url"}, "response_format", "invalid_parameter"),
        ({"stream": "yes"}, "stream", "invalid_parameter"),
        ({"images": []}, "images", "unsupported_parameter"),
        ({"image": "data:,"}, "image", "unsupported_parameter"),
        ({"mask": {}}, "mask", "unsupported_parameter"),
        ({"num_images": 3}, "num_images", "unsupported_parameter"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    create: Send, fields: dict[str, Any], param: str, code: str
) -> None:
    error = error_of(create(**fields), 400)
    expected = "image" if param == "images" else param
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", expected, code)
    assert not Generation.objects.exists()


def test_a_key_of_idempotency_belongs_to_one_path(me: Caller) -> None:
    body, key = {"prompt": "a boat", "size": "512x512"}, {"Idempotency-Key": "k"}
    first = me.post("/v1/images/generations", body, **key)
    again = me.post("/v1/images/generations", body, **key)
    assert (again["Idempotent-Replayed"], again.json()) == ("true", first.json())
    assert me.post("/v1/generate", body, **key).status_code == 422
    assert Generation.objects.count() == 1


def test_a_reply_has_only_the_images_that_were_made(create: Send, broken_seeds: set[int]) -> None:
    broken_seeds.add(8)
    body = create(n=2, seed=7).json()
    assert ([image["seed"] for image in body["data"]], body["failed"]) == ([7], 1)


def test_what_fails_is_an_error_and_free(me: Caller, create: Send, broken_seeds: set[int]) -> None:
    broken_seeds.update((7, 8))
    for count in (1, 2):
        reply = create(seed=7, n=count)
        error = error_of(reply, 500)
        assert (error["type"], error["code"]) == ("server_error", "generation_failed")
        assert reply["x-should-retry"] == "false"
        assert reply["Location"] == f"/v1/generations/{error['generation_id']}"
    assert me.get("/v1/balance").json()["data"]["total_spent"] == "0.0000"


def test_variations_say_what_to_use_instead(me: Caller) -> None:
    error = error_of(me.post("/v1/images/variations", {}), 400)
    assert error["code"] == "unsupported_endpoint"
    assert "/v1/images/edits" in error["message"]


def test_an_alias_of_the_operator_is_the_model_that_it_stands_for(
    me: Caller, create: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.catalogue.aliases", lambda: {"gpt-image-2": "zekron-image-1"})
    [image] = create(model="gpt-image-2").json()["data"]
    # OpenAI's clients expect the bytes alone of such a model.
    assert "b64_json" in image
    assert "url" not in image
    assert Generation.objects.get().model == "zekron-image-1"
    assert me.generate(model="gpt-image-2").json()["data"]["model"] == "zekron-image-1"
