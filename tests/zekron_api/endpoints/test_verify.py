"""POST /v1/verify: which pictures were made here, and which marks they bear."""

import base64
import io
import uuid
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.images import picture, saved
from tests.zekron_api.callers import Caller
from workers.engine.interface import ImageOrder, StepCallback
from workers.imaging import source_images
from workers.imaging.xmp import SourceType
from workers.lifecycle import deletion, generations
from workers.lifecycle.made_pictures import Mark
from workers.models import MadePicture, Status

pytestmark = pytest.mark.django_db(transaction=True)
FORMATS = [
    ("png", {}),
    ("jpeg", {"output_compression": 60}),
    ("webp", {"output_compression": 60}),
    ("webp", {}),
]
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def verdict(who: Caller, content: bytes) -> tuple[Any, Any]:
    response = who.post("/v1/verify", {"data": base64.b64encode(content).decode()})
    assert response.status_code == 200, response.content
    body = response.json()
    assert (set(body), set(body["data"])) == ({"success", "data"}, {"made_here", "xmp", "c2pa"})
    return body["data"]["made_here"], body["data"]["xmp"]


@pytest.fixture
def grain(engine: factories.StandInEngine, monkeypatch: pytest.MonkeyPatch) -> factories.StandInEngine:
    """Let the engine paint noise of the order's seed, so that no format keeps it by chance."""

    def generate(orders: list[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        on_step(1, 1)
        return [
            Image.fromarray(
                np.random.default_rng(order.seed).integers(
                    0, 256, (order.height, order.width, 3), dtype=np.uint8
                )
            )
            for order in orders
        ]

    monkeypatch.setattr(engine, "generate", generate)
    return engine


def made(who: Caller, **body: Any) -> bytes:
    return base64.b64decode(who.generate(**body).json()["data"]["image"]["b64_json"])


@pytest.mark.parametrize(("name", "more"), FORMATS)
def test_a_picture_that_was_made_here_is_known_to_everyone_after_it_is_gone(
    me: Caller, stranger: Caller, grain: factories.StandInEngine, name: str, more: dict[str, Any]
) -> None:
    data = me.generate(output_format=name, **more).json()["data"]
    content = base64.b64decode(data["image"]["b64_json"])
    assert verdict(stranger, content) == (True, SourceType.CREATED)
    deletion.delete_image(generation_id=data["id"])
    assert verdict(stranger, content) == (True, SourceType.CREATED)
    stranger.account.refresh_from_db()
    assert stranger.account.balance_micros == 10_000_000


def test_the_pixels_count_and_not_the_file(me: Caller, grain: factories.StandInEngine) -> None:
    content = made(me)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    copies = [saved(image), saved(image.convert("RGBA")), saved(image, "WEBP", lossless=True)]
    assert [verdict(me, copy) for copy in copies] == [(True, None)] * 3


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((511, 512)),
        lambda image: image.crop((0, 0, 512, 511)),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: image.convert("L"),
        lambda image: Image.fromarray(np.asarray(image) ^ np.uint8(1)),
        lambda image: Image.fromarray(np.asarray(image).reshape(256, 1024, 3)),
    ],
)
def test_another_picture_was_not_made_here(me: Caller, grain: factories.StandInEngine, change: Any) -> None:
    image = Image.open(io.BytesIO(made(me))).convert("RGB")
    assert verdict(me, saved(change(image))) == (False, None)


def test_a_picture_that_becomes_transparent_is_another_one(
    me: Caller, grain: factories.StandInEngine
) -> None:
    image = Image.open(io.BytesIO(made(me))).convert("RGBA")
    image.putpixel((0, 0), (*image.getpixel((0, 0))[:3], 254))  # type: ignore[index]
    assert verdict(me, saved(image)) == (False, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_foreign_picture_has_the_source_type_that_it_names(me: Caller, kind: str) -> None:
    term = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    packet = f'<x Iptc4xmpExt:DigitalSourceType="{term}"/>'.encode()
    image = Image.new("RGB", (96, 64), "orange")
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        content = saved(image, pnginfo=info)
    else:
        content = saved(image, kind, xmp=packet)
    assert verdict(me, content) == (False, term)


def test_a_large_picture_is_not_read_and_was_not_made_here(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = saved(Image.new("L", (2049, 2048)))
    monkeypatch.setattr(Image.Image, "convert", None)
    assert verdict(me, content) == (False, None)


def test_equal_pictures_are_one_digest_and_nothing_else_is_kept(
    me: Caller, stranger: Caller, engine: factories.StandInEngine
) -> None:
    assert made(me) == made(stranger)
    [kept] = MadePicture.objects.all()
    assert len(bytes(kept.digest)) == 32
    assert [field.name for field in MadePicture._meta.get_fields()] == ["digest"]


def test_an_attempt_that_lost_its_lease_leaves_no_digest(me: Caller) -> None:
    running = factories.generation_in(Status.RUNNING, me.account)
    running.lease_token = uuid.uuid4()
    with pytest.raises(generations.LeaseLost):
        generations.complete(
            generation=running, image=factories.sealed(), cost_micros=26_700, mark=Mark("xmp", KEY)
        )
    assert not MadePicture.objects.exists()


def test_a_key_that_is_no_longer_the_first_still_knows_its_pictures(
    me: Caller, engine: factories.StandInEngine, settings: Settings
) -> None:
    settings.PROVENANCE_KEYS = {"a": KEY}
    content = made(me)
    settings.PROVENANCE_KEYS = {"b": OTHER, "a": KEY}
    assert verdict(me, content)[0] is True
    settings.PROVENANCE_KEYS = {"b": OTHER}
    assert verdict(me, content)[0] is False


def test_without_keys_nothing_is_kept_and_nobody_knows(
    me: Caller, engine: factories.StandInEngine, settings: Settings
) -> None:
    settings.PROVENANCE_KEYS = {}
    content = made(me)
    assert verdict(me, content) == (None, SourceType.CREATED)
    assert verdict(me, saved(Image.new("L", (2049, 2048)))) == (None, None)
    assert not MadePicture.objects.exists()


@pytest.mark.parametrize(
    ("body", "error_type", "said"),
    [
        ({}, "invalid_base64", "data is required."),
        ({"data": None}, "invalid_base64", "data is required."),
        ({"data": 1}, "invalid_base64", "data is required."),
        ({"data": {"data": picture()}}, "invalid_base64", "data is required."),
        ({"image": picture()}, "invalid_base64", "data is required."),
        ({"data": "a b"}, "invalid_base64", "data is not valid base64."),
        ({"data": "AAAA"}, "invalid_image", "data: The data is not a readable PNG, JPEG or WebP image."),
        ({"data": picture("GIF")}, "invalid_image", "data: The data is not a readable"),
        ({"data": picture()[:80]}, "invalid_image", "data: The data is not a readable"),
        (
            {"data": "A" * 14_000_000},
            "invalid_image",
            "data has 10500000 bytes; at most 10485760 are allowed.",
        ),
    ],
)
def test_what_cannot_be_verified_is_refused(me: Caller, body: Any, error_type: str, said: str) -> None:
    response = me.post("/v1/verify", body)
    assert refusal(response) == (400, error_type)
    assert response.json()["error"]["message"].startswith(said)


def test_a_bomb_is_refused(me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "MAX_PIXELS", 100)
    response = me.post("/v1/verify", {"data": picture()})
    assert refusal(response) == (400, "invalid_image")


def test_it_has_a_limit_of_its_own(me: Caller, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE, settings.VERIFICATIONS_PER_MINUTE = 0, 1
    body = {"data": picture()}
    assert me.post("/v1/verify", body).status_code == 200
    assert refusal(me.post("/v1/verify", body)) == (429, "rate_limit_exceeded")
    settings.REQUESTS_PER_MINUTE = 1
    assert me.get("/v1/balance").status_code == 200
