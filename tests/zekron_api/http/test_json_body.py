"""Right status in the envelope for any body, and never a request that hangs."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from storage.models import StoredImage
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api import asgi_client
from workers.models import Generation
from zekron_api.waiting import asgi_handler

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]

JSON = ("content-type", "application/json")
GOOD = {"prompt": "a boat", "size": "512x512"}
IMAGE = picture()


@pytest.fixture(autouse=True)
def unlimited(settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    settings.REQUESTS_PER_MINUTE = 10_000


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def image(data: object) -> bytes:
    return body(images=[{"data": data}])


BODIES = {
    # JSON
    "no body": (b"", 400, "invalid_json", "is empty"),
    "blanks": (b" \n", 400, "invalid_json", "not valid JSON"),
    "a truncated object": (b'{"prompt": "x"', 400, "invalid_json", "not valid JSON"),
    "two objects": (b"{}{}", 400, "invalid_json", "not valid JSON"),
    "a comment": (b'{"prompt": "x"} // boat', 400, "invalid_json", "not valid JSON"),
    "single quotes": (b"{'prompt': 'x'}", 400, "invalid_json", "not valid JSON"),
    "a comma at the end": (b'{"prompt": "x",}', 400, "invalid_json", "not valid JSON"),
    "a form": (b"prompt=x", 400, "invalid_json", "not valid JSON"),
    "XML": (
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        400,
        "invalid_json",
        "not valid",
    ),
    "a list": (b"[]", 400, "invalid_json", "not an object"),
    "a text": (b'"prompt"', 400, "invalid_json", "not an object"),
    "a number": (b"7", 400, "invalid_json", "not an object"),
    "true": (b"true", 400, "invalid_json", "not an object"),
    "null": (b"null", 400, "invalid_json", "not an object"),
    "bytes that are no UTF-8": (b'{"prompt": "\xff"}', 400, "invalid_json", "not valid UTF-8"),
    "an overlong NUL": (b'{"prompt": "\xc0\x80"}', 400, "invalid_json", "not valid UTF-8"),
    "a surrogate in UTF-8": (b'{"prompt": "\xed\xa0\x80"}', 400, "invalid_json", "not valid UTF-8"),
    "UTF-16": (body().decode().encode("utf-16"), 400, "invalid_json", "not valid UTF-8"),
    "UTF-32": (body().decode().encode("utf-32-be"), 400, "invalid_json", "not valid JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), 400, "invalid_json", "byte order mark"),
    "a raw control in a text": (b'{"prompt": "a\x01b"}', 400, "invalid_json", "control character"),
    "an unknown escape": (b'{"prompt": "\\x41"}', 400, "invalid_json", "escape"),
    "NaN": (b'{"prompt": "x", "a": NaN}', 400, "invalid_json", "NaN is not a JSON number"),
    "Infinity": (b'{"prompt": "x", "a": -Infinity}', 400, "invalid_json", "-Infinity is not a JSON number"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", 400, "invalid_json", "than 1000 digits"),
    "a name twice": (b'{"prompt": "x", "prompt": "y"}', 400, "invalid_json", "twice"),
    "a name twice inside": (b'{"prompt": "x", "a": [{"b": 1, "b": 1}]}', 400, "invalid_json", "twice"),
    "33 levels": (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", 400, "invalid_json", "deeper than 32"),
    "100,000 levels": (b"[" * 100_000, 400, "invalid_json", "not valid JSON"),
    "100,000 levels of objects": (b'{"a":' * 100_000, 400, "invalid_json", "not valid JSON"),
    "a million values": (b'{"a": [' + b"[]," * 1_000_000 + b"0]}", 400, "invalid_json", "100000 values"),
    # prompt
    "no prompt": (b"{}", 400, "missing_prompt", "prompt field is required"),
    "null as prompt": (body(prompt=None), 400, "missing_prompt", "prompt field is required"),
    "a blank prompt": (body(prompt=" \t\n\u3000"), 400, "missing_prompt", "prompt must not be blank"),
    "an empty prompt": (body(prompt=""), 400, "missing_prompt", "prompt must not be blank"),
    "a number as prompt": (body(prompt=7), 400, "missing_prompt", "not a number"),
    "a fraction as prompt": (body(prompt=1e308), 400, "missing_prompt", "not a number"),
    "a list as prompt": (body(prompt=["x"]), 400, "missing_prompt", "not an array"),
    "an object as prompt": (body(prompt={"$ne": ""}), 400, "missing_prompt", "not an object"),
    "true as prompt": (body(prompt=True), 400, "missing_prompt", "not a boolean"),
    "4,001 characters": (body(prompt="x" * 4001), 400, "prompt_too_long", "4001 characters; at most 4000"),
    "a NUL in the prompt": (body(prompt="a\0b"), 400, "invalid_prompt", "a NUL at character 1"),
    "half a surrogate pair": (
        body(prompt="ab\ud800"),
        400,
        "invalid_prompt",
        "an unpaired surrogate at character 2",
    ),
    "the other half": (body(prompt="\udfff"), 400, "invalid_prompt", "an unpaired surrogate at character 0"),
    # model
    "an unknown model": (
        body(model="dall-e-3"),
        400,
        "invalid_model",
        "Unknown model. Allowed: zekron-image-1.",
    ),
    "an empty model": (body(model=""), 400, "invalid_model", "Unknown model. Allowed: zekron-image-1."),
    "a model in capitals": (
        body(model="ZEKRON-IMAGE-1"),
        400,
        "invalid_model",
        "Unknown model. Allowed: zekron-image-1.",
    ),
    "a path as model": (
        body(model="../../etc/passwd"),
        400,
        "invalid_model",
        "Unknown model. Allowed: zekron-image-1.",
    ),
    "a surrogate as model": (
        body(model="\ud800"),
        400,
        "invalid_model",
        "Unknown model. Allowed: zekron-image-1.",
    ),
    "a number as model": (body(model=1), 400, "invalid_model", "not a number"),
    "a list as model": (body(model=["zekron-image-1"]), 400, "invalid_model", "not an array"),
    "an object as model": (body(model={}), 400, "invalid_model", "not an object"),
    # size
    "a size of too many pixels": (
        body(size="2048x2048"),
        400,
        "invalid_size",
        "The nearest allowed size is 1536x1536.",
    ),
    "a size in capitals": (body(size="512X512"), 400, "invalid_size", "Unknown size. Allowed: 512x512"),
    "a size with a blank": (body(size="512x512 "), 400, "invalid_size", "Unknown size. Allowed: 512x512"),
    "a size without end": (
        body(size="9" * 1000 + "x1"),
        400,
        "invalid_size",
        "Unknown size. Allowed: 512x512",
    ),
    "other digits": (
        body(size="\u0665\u0661\u0662x\u0665\u0661\u0662"),
        400,
        "invalid_size",
        "Unknown size. Allowed: 512x512",
    ),
    "a number as size": (body(size=512), 400, "invalid_size", "not a number"),
    "a list as size": (body(size=[512, 512]), 400, "invalid_size", "not an array"),
    "a seed beyond numbers": (
        b'{"prompt": "x", "seed": 1e999}',
        400,
        "invalid_parameter",
        "seed must be a whole",
    ),
    # images
    "a text as images": (body(images="abc"), 400, "invalid_base64", "not a string"),
    "a number as images": (body(images=1), 400, "invalid_base64", "not a number"),
    "an object as images": (body(images={"0": {"data": IMAGE}}), 400, "invalid_base64", "not an object"),
    "false as images": (body(images=False), 400, "invalid_base64", "not a boolean"),
    "three images": (body(images=[{"data": IMAGE}] * 3), 400, "too_many_images", "3 items; at most 2"),
    "a thousand images": (body(images=[None] * 1000), 400, "too_many_images", "1000 items; at most 2"),
    "null as image": (body(images=[None]), 400, "invalid_base64", "images[0] must be an object"),
    "a text as image": (body(images=[IMAGE]), 400, "invalid_base64", "images[0] must be an object"),
    "a list as image": (body(images=[[IMAGE]]), 400, "invalid_base64", "images[0] must be an object"),
    "an image without data": (body(images=[{}]), 400, "invalid_base64", "images[0].data is required"),
    "a second image without data": (
        body(images=[{"data": IMAGE}, {}]),
        400,
        "invalid_base64",
        "images[1].data is",
    ),
    "null as data": (image(None), 400, "invalid_base64", "images[0].data is required"),
    "a number as data": (image(7), 400, "invalid_base64", "images[0].data is required"),
    "a list as data": (image([IMAGE]), 400, "invalid_base64", "images[0].data is required"),
    "empty data": (image(""), 400, "invalid_base64", "images[0].data is required"),
    "junk as data": (image("***"), 400, "invalid_base64", "not valid base64"),
    "junk in data": (image(IMAGE[:40] + "!" + IMAGE[40:]), 400, "invalid_base64", "not valid base64"),
    "blanks in data": (image(IMAGE[:40] + " " + IMAGE[40:]), 400, "invalid_base64", "not valid base64"),
    "a tab in data": (image("\t" + IMAGE), 400, "invalid_base64", "not valid base64"),
    "a NUL in data": (image(IMAGE + "\0"), 400, "invalid_base64", "not valid base64"),
    "a surrogate in data": (image(IMAGE + "\ud800"), 400, "invalid_base64", "not valid base64"),
    "the alphabet of URLs": (image("_-8="), 400, "invalid_base64", "not valid base64"),
    "data without padding": (image("aGVsbG8"), 400, "invalid_base64", "not valid base64"),
    "data with padding in the middle": (image("aGVsbG8=aGVsbG8="), 400, "invalid_base64", "not valid base64"),
    "data of padding": (image("===="), 400, "invalid_base64", "not valid base64"),
    "an address as data": (image("https://example.com/a.png"), 400, "invalid_base64", "not valid base64"),
    "a data URL that is no base64": (image("data:image/png,abcd"), 400, "invalid_base64", "not valid base64"),
    "a data URL in a data URL": (
        image("data:;base64,data:;base64," + IMAGE),
        400,
        "invalid_base64",
        "not valid",
    ),
    "a data URL of nothing": (
        image("data:image/png;base64,"),
        400,
        "invalid_image",
        "not a readable PNG, JPEG",
    ),
    "a text as the image": (image("aGVsbG8="), 400, "invalid_image", "images[0]: The data is not a readable"),
    "an SVG": (
        image("PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="),
        400,
        "invalid_image",
        "not a",
    ),
    "a BMP": (
        image(picture("BMP")),
        400,
        "invalid_image",
        "not a readable PNG, JPEG, WebP, HEIC, AVIF or GIF",
    ),
    "a TIFF": (
        image(picture("TIFF")),
        400,
        "invalid_image",
        "not a readable PNG, JPEG, WebP, HEIC, AVIF or GIF",
    ),
    "an ICO": (
        image(picture("ICO", size=(64, 64))),
        400,
        "invalid_image",
        "not a readable PNG, JPEG, WebP, HEIC, AVIF or GIF",
    ),
    "a truncated PNG": (image(picture(size=(300, 300))[:400]), 400, "invalid_image", "truncated or broken"),
    "a small image": (
        image(picture(size=(63, 64))),
        400,
        "invalid_image",
        "under 64 pixels on a side: 63x64",
    ),
    "a long image": (image(picture(size=(1000, 64))), 400, "invalid_image", "longer than 8:1: 1000x64"),
    "over 10 MiB": (image("A" * 14_000_000), 400, "invalid_image", "10500000 bytes; at most 10485760"),
}
ACCEPTED = {
    "a prompt of 4,000 characters": body(prompt="x" * 4000),
    "4,000 characters beyond the basic plane": body(prompt="\U0001f600" * 4000),
    "controls other than NUL": body(prompt="a\x01\x1b[31m\x7f\x85\u202e"),
    "32 levels in a field that is ignored": b'{"prompt": "x", "a": ' + b"[" * 31 + b"]" * 31 + b"}",
    "a huge number in a field that is ignored": b'{"prompt": "x", "style": 1e999}',
    "unknown fields": body(seed=3, **{"__proto__": {"admin": True}, "": None}),
    "null as model and size": body(model=None, size=None, images=None),
    "an image whatever its mime_type says": body(images=[{"data": IMAGE, "mime_type": "text/html"}]),
    "an image whose mime_type is an object": body(images=[{"data": IMAGE, "mime_type": {}}]),
    "a data URL": image("data:image/jpeg;base64," + IMAGE),
    "a data URL in capitals": image("DATA:IMAGE/PNG;BASE64," + IMAGE),
    "line breaks": image("\r\n".join([IMAGE[:40], IMAGE[40:], ""])),
}


@pytest.mark.parametrize(("content", "status", "error_type", "message"), BODIES.values(), ids=BODIES)
def test_a_hostile_body_is_refused_with_the_field_and_what_is_allowed(
    room: asgi_client.Served,
    bearer: tuple[str, str],
    content: Any,
    status: Any,
    error_type: Any,
    message: Any,
) -> None:
    reply = room.send("POST", "/v1/generate", [bearer, JSON], content)
    assert refusal(reply) == (status, error_type)
    assert message in reply.json()["error"]["message"]
    assert reply["X-RateLimit-Remaining"] == "9999"
    assert not Generation.objects.exists()
    assert not StoredImage.objects.exists()


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_an_odd_but_valid_body_is_accepted(
    room: asgi_client.Served, bearer: tuple[str, str], content: Any
) -> None:
    assert refusal(room.send("POST", "/v1/generate", [bearer, JSON], content)) == (503, "service_busy")
    assert Generation.objects.get().prompt == json.loads(content)["prompt"]


CONTENT_TYPES = {
    "none": None,
    "a form": "application/x-www-form-urlencoded",
    "a multipart form": "multipart/form-data; boundary=x",
    "text": "text/plain",
    "a relative of JSON": "application/json-patch+json",
    "JSON twice": "application/json, application/json",
    "anything": "*/*",
    "nonsense": "\xff\xfe/;;;=",
    "5,000 characters": "a" * 5000,
    "latin-1": "application/json; charset=iso-8859-1",
    "UTF-16": "application/json; charset=utf-16",
    "a codec that is no text": "application/json; charset=hex",
    "another codec that is no text": "application/json; charset=rot13",
    "a codec that fails": "application/json; charset=undefined",
    "an unknown charset": "application/json; charset=klingon",
    "a parameter in an unknown charset": "application/json; charset*=klingon''utf-8",
    "a parameter of broken bytes": "application/json; charset*=utf-8''%ff",
}


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES)
def test_a_content_type_that_is_not_json_in_utf_8_is_a_415_and_troubles_no_other_endpoint(
    room: asgi_client.Served, bearer: tuple[str, str], content_type: Any
) -> None:
    headers = [bearer] if content_type is None else [bearer, ("content-type", content_type)]
    reply = room.send("POST", "/v1/generate", headers, body())
    assert refusal(reply) == (415, "unsupported_media_type")
    assert room.send("GET", "/v1/generations?limit=1", headers).json()["data"]["pagination"]["limit"] == 1
    assert refusal(room.send("GET", "/nowhere?%ff=%ff", headers)) == (404, "not_found")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_a_415(room: asgi_client.Served, bearer: tuple[str, str], encoding: str) -> None:
    reply = room.send("POST", "/v1/generate", [bearer, JSON, ("content-encoding", encoding)], b"\x1f\x8b")
    assert refusal(reply) == (415, "unsupported_media_type")
    assert "Content-Encoding" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_json_in_utf_8_is_read_however_its_type_is_written(
    room: asgi_client.Served, bearer: tuple[str, str], content_type: str
) -> None:
    headers = [bearer, ("content-type", content_type), ("content-encoding", "identity")]
    assert refusal(room.send("POST", "/v1/generate", headers, body())) == (503, "service_busy")


def test_a_body_in_chunks_is_read_like_any(room: asgi_client.Served, bearer: tuple[str, str]) -> None:
    reply = room.send("POST", "/v1/generate", [bearer, JSON], image(IMAGE), chunked=True)
    assert refusal(reply) == (503, "service_busy")


def test_a_body_that_never_ends_is_given_up_with_a_408(
    room: asgi_client.Served, bearer: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_BODY_SECONDS", 0.05)
    reply = room.send_without_end("POST", "/v1/generate", [bearer, JSON], b'{"prompt"')
    assert refusal(reply) == (408, "request_timeout")
    assert reply["Connection"] == "close"


def test_a_body_over_the_limit_is_refused_before_it_has_ended(
    room: asgi_client.Served, bearer: tuple[str, str], settings: Settings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    reply = room.send_without_end("POST", "/v1/generate", [bearer, JSON], b"x" * 2000)
    assert refusal(reply) == (413, "payload_too_large")


def test_the_published_limit_of_a_body_is_32_mib(room: asgi_client.Served, bearer: tuple[str, str]) -> None:
    assert refusal(room.send("POST", "/v1/generate", [bearer, JSON], b" " * (32 * 1024**2))) == (
        400,
        "invalid_json",
    )
    reply = room.send("POST", "/v1/generate", [bearer, JSON], b" " * (32 * 1024**2 + 1))
    assert refusal(reply) == (413, "payload_too_large")
