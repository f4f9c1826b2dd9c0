"""The format of the image's file: what a request may ask for, and that everything agrees with it."""

import base64
import io
from typing import Any

import orjson
import pytest
from PIL import Image
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers.imaging.xmp import SourceType
from workers.lifecycle import erasure
from workers.models import Generation
from zekron_api.endpoints import generation_object

pytestmark = pytest.mark.django_db(transaction=True)
FORMATS = ["png", "jpeg", "webp"]


def opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_the_same_wherever_the_image_is_told_of(
    me: Caller, engine: factories.StandInEngine, name: str
) -> None:
    body, key = {"output_format": name}, {"Idempotency-Key": name}
    request = {"prompt": "a boat", "size": "512x512", **body}
    made = me.post("/v1/generate", request, **key).json()["data"]
    content = base64.b64decode(made["image"]["b64_json"])
    assert opened(content).format == name.upper()
    assert made["image"]["mime_type"] == f"image/{name}"
    assert me.post("/v1/generate", request, **key).json()["data"] == made

    fetched = me.get(f"/v1/images/{made['token']}")
    assert (fetched.content, fetched["Content-Type"]) == (content, f"image/{name}")
    assert fetched["Content-Disposition"].endswith(f'.{name}"')
    part = me.get(f"/v1/images/{made['token']}", Range="bytes=0-9")
    assert (part.status_code, part.content, part["Content-Type"]) == (206, content[:10], f"image/{name}")

    told = me.get(f"/v1/generations/{made['id']}?include=b64_json").json()["data"]
    event = generation_object.build_end(account_id=me.account.pk, generation_id=made["id"], with_content=True)
    assert event is not None
    for each in (told, orjson.loads(event.data)):
        assert (each["output_format"], each["image"]["mime_type"]) == (name, f"image/{name}")
        assert base64.b64decode(each["image"]["b64_json"]) == content

    erasure.erase(generation_ids=[made["id"]])
    assert me.get(f"/v1/generations/{made['id']}").json()["data"]["output_format"] == name


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({}, {}),
        ({"output_format": None, "output_compression": None}, {}),
        ({"output_format": "png"}, {}),
        ({"output_format": "webp", "output_compression": 100}, {"output_format": "webp"}),
        (
            {"output_format": "jpeg", "output_compression": 0},
            {"output_format": "jpeg", "output_compression": 0},
        ),
        (
            {"output_format": "jpeg", "output_compression": 40.0},
            {"output_format": "jpeg", "output_compression": 40},
        ),
    ],
)
def test_the_row_keeps_what_is_not_the_default(
    me: Caller, engine: factories.StandInEngine, body: Any, kept: Any
) -> None:
    assert me.generate(**body).status_code == 200
    parameters = Generation.objects.get().parameters
    del parameters["seed"]
    assert parameters == {"width": 512, "height": 512, "prompt_tokens": 2, **kept}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"output_format": "gif"}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": "jpg"}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": "PNG"}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": ""}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": 1}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": ["png"]}, "output_format must be one of: png, jpeg, webp."),
        ({"output_format": "jpeg", "output_compression": 101}, "output_compression must be a whole number"),
        ({"output_format": "jpeg", "output_compression": -1}, "output_compression must be a whole number"),
        ({"output_format": "webp", "output_compression": 1.5}, "output_compression must be a whole number"),
        ({"output_format": "webp", "output_compression": "80"}, "output_compression must be a whole number"),
        ({"output_format": "webp", "output_compression": True}, "output_compression must be a whole number"),
        ({"output_compression": 80}, "output_compression is for the formats jpeg and webp."),
        ({"output_format": None, "output_compression": 0}, "output_compression is for the formats"),
        ({"output_format": "png", "output_compression": 100}, "output_compression is for the formats"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/generate", "/v1/quote"])
def test_what_cannot_be_honoured_is_refused_by_name(
    me: Caller, idle_worker: None, path: str, body: dict[str, Any], said: str
) -> None:
    response = me.post(path, {"prompt": "a boat", **body})
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(said)
    assert not Generation.objects.exists()


def test_another_format_under_the_same_key_is_another_request(
    me: Caller, engine: factories.StandInEngine
) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"prompt": "a boat", "size": "512x512"}
    bodies: list[dict[str, object]] = [
        {"output_format": "png"},
        {"output_format": "jpeg"},
        {"output_format": "jpeg", "output_compression": 100},
        {"output_format": "jpeg", "output_compression": 50},
    ]
    me.post("/v1/generate", {**body, **bodies[1]}, **key)
    statuses = [me.post("/v1/generate", {**body, **more}, **key).status_code for more in [{}, *bodies]]
    # A compression of 100 is what the format has without one.
    assert statuses == [422, 422, 200, 200, 422]
    assert len(engine.orders) == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("images", [[], [{"data": picture()}]], ids=["create", "edit"])
def test_every_image_says_that_it_was_generated_and_nothing_of_its_request(
    me: Caller, engine: factories.StandInEngine, name: str, images: Any
) -> None:
    made = me.generate(output_format=name, images=images).json()["data"]
    image = opened(base64.b64decode(made["image"]["b64_json"]))
    description = image.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert description == {
        "about": "",
        "CreatorTool": "Zekron",
        "AISystemUsed": "zekron-image-1",
        "DigitalSourceType": SourceType.EDITED if images else SourceType.CREATED,
    }
    assert me.get(f"/v1/generations/{made['id']}").json()["data"]["provenance"] == "xmp"


def test_without_a_mark_the_file_has_none_and_the_reply_says_so(
    me: Caller, engine: factories.StandInEngine, settings: Settings
) -> None:
    settings.PROVENANCE = "none"
    made = me.generate().json()["data"]
    assert set(opened(base64.b64decode(made["image"]["b64_json"])).info) == {"srgb"}
    assert me.get(f"/v1/generations/{made['id']}").json()["data"]["provenance"] is None
