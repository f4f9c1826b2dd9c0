"""Whatever is sent is answered with the right status in the envelope, in the contract's order, and never hangs."""

import json

import pytest

from storage.models import StoredImage
from tests.zekron_api import served as server
from tests.zekron_api.conftest import picture
from tests.zekron_api.test_generate import refusal
from workers.models import Generation
from zekron_api import waiting_room

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]

JSON = ("content-type", "application/json")
GOOD = {"prompt": "a boat", "size": "512x512"}
IMAGE = picture()


@pytest.fixture(scope="module")
def room():
    with server.served() as room:
        yield room


@pytest.fixture(autouse=True)
def unlimited(settings):
    settings.SYNC_WAIT_SECONDS = 0
    settings.REQUESTS_PER_MINUTE = 10_000


@pytest.fixture
def bearer(me):
    return ("authorization", f"Bearer {me.key}")


def body(**changes: object) -> bytes:
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
    "NaN": (b'{"prompt": "x", "a": NaN}', 400, "invalid_json", "NaN is no JSON number"),
    "Infinity": (b'{"prompt": "x", "a": -Infinity}', 400, "invalid_json", "-Infinity is no JSON number"),
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
    "a blank prompt": (body(prompt=" \t\n\u3000"), 400, "missing_prompt", "prompt is blank"),
    "an empty prompt": (body(prompt=""), 400, "missing_prompt", "prompt is blank"),
    "a number as prompt": (body(prompt=7), 400, "missing_prompt", "not a number"),
    "a fraction as prompt": (body(prompt=1e308), 400, "missing_prompt", "not a number"),
    "a list as prompt": (body(prompt=["x"]), 400, "missing_prompt", "not a list"),
    "an object as prompt": (body(prompt={"$ne": ""}), 400, "missing_prompt", "not an object"),
    "true as prompt": (body(prompt=True), 400, "missing_prompt", "not true or false"),
    "4,001 characters": (body(prompt="x" * 4001), 400, "prompt_too_long", "4001 characters; at most 4000"),
    "a NUL in the prompt": (body(prompt="a\0b"), 400, "invalid_prompt", "a NUL at character 1"),
    "half a surrogate pair": (
        body(prompt="ab\ud800"),
        400,
        "invalid_prompt",
        "surrogate pair at character 2",
    ),
    "the other half": (body(prompt="\udfff"), 400, "invalid_prompt", "surrogate pair at character 0"),
    # model
    "an unknown model": (body(model="dall-e-3"), 400, "invalid_model", "allowed: zekron-image-1."),
    "an empty model": (body(model=""), 400, "invalid_model", "allowed: zekron-image-1."),
    "a model in capitals": (body(model="ZEKRON-IMAGE-1"), 400, "invalid_model", "allowed: zekron-image-1."),
    "a path as model": (body(model="../../etc/passwd"), 400, "invalid_model", "allowed: zekron-image-1."),
    "a surrogate as model": (body(model="\ud800"), 400, "invalid_model", "allowed: zekron-image-1."),
    "a number as model": (body(model=1), 400, "invalid_model", "not a number"),
    "a list as model": (body(model=["zekron-image-1"]), 400, "invalid_model", "not a list"),
    "an object as model": (body(model={}), 400, "invalid_model", "not an object"),
    # size
    "an unknown size": (body(size="2048x2048"), 400, "invalid_size", "allowed: 512x512, 1024x1024"),
    "a size in capitals": (body(size="512X512"), 400, "invalid_size", "allowed: 512x512"),
    "a size with a blank": (body(size="512x512 "), 400, "invalid_size", "allowed: 512x512"),
    "a size without end": (body(size="9" * 1000 + "x1"), 400, "invalid_size", "allowed: 512x512"),
    "other digits": (
        body(size="\u0665\u0661\u0662x\u0665\u0661\u0662"),
        400,
        "invalid_size",
        "allowed: 512x512",
    ),
    "a number as size": (body(size=512), 400, "invalid_size", "not a number"),
    "a list as size": (body(size=[512, 512]), 400, "invalid_size", "not a list"),
    # images
    "a text as images": (body(images="abc"), 400, "invalid_base64", "not a text"),
    "a number as images": (body(images=1), 400, "invalid_base64", "not a number"),
    "an object as images": (body(images={"0": {"data": IMAGE}}), 400, "invalid_base64", "not an object"),
    "false as images": (body(images=False), 400, "invalid_base64", "not true or false"),
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
    "a GIF": (image(picture("GIF")), 400, "invalid_image", "not a readable PNG, JPEG or WebP"),
    "a BMP": (image(picture("BMP")), 400, "invalid_image", "not a readable PNG, JPEG or WebP"),
    "a TIFF": (image(picture("TIFF")), 400, "invalid_image", "not a readable PNG, JPEG or WebP"),
    "an ICO": (
        image(picture("ICO", size=(64, 64))),
        400,
        "invalid_image",
        "not a readable PNG, JPEG or WebP",
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
    "a huge number in a field that is ignored": b'{"prompt": "x", "seed": 1e999}',
    "unknown fields": body(n=3, **{"__proto__": {"admin": True}, "": None}),
    "null as model and size": body(model=None, size=None, images=None),
    "an image whatever its mime_type says": body(images=[{"data": IMAGE, "mime_type": "text/html"}]),
    "an image whose mime_type is an object": body(images=[{"data": IMAGE, "mime_type": {}}]),
    "a data URL": image("data:image/jpeg;base64," + IMAGE),
    "a data URL in capitals": image("DATA:IMAGE/PNG;BASE64," + IMAGE),
    "line breaks": image("\r\n".join([IMAGE[:40], IMAGE[40:], ""])),
}


@pytest.mark.parametrize(("content", "status", "error_type", "message"), BODIES.values(), ids=BODIES)
def test_a_hostile_body_is_refused_with_the_field_and_what_is_allowed(
    room, bearer, content, status, error_type, message
):
    reply = room.send("POST", "/v1/generate", [bearer, JSON], content)
    assert refusal(reply) == (status, error_type)
    assert message in reply.json()["error"]["message"]
    assert reply["X-RateLimit-Remaining"] == "9999"
    assert not Generation.objects.exists()
    assert not StoredImage.objects.exists()


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_an_odd_but_valid_body_is_accepted(room, bearer, content):
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
    room, bearer, content_type
):
    headers = [bearer] if content_type is None else [bearer, ("content-type", content_type)]
    reply = room.send("POST", "/v1/generate", headers, body())
    assert refusal(reply) == (415, "unsupported_media_type")
    assert room.send("GET", "/v1/generations?limit=1", headers).json()["data"]["pagination"]["limit"] == 1
    assert refusal(room.send("GET", "/nowhere?%ff=%ff", headers)) == (404, "not_found")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_a_415(room, bearer, encoding):
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
def test_json_in_utf_8_is_read_however_its_type_is_written(room, bearer, content_type):
    headers = [bearer, ("content-type", content_type), ("content-encoding", "identity")]
    assert refusal(room.send("POST", "/v1/generate", headers, body())) == (503, "service_busy")


def test_a_body_in_chunks_is_read_like_any(room, bearer):
    reply = room.send("POST", "/v1/generate", [bearer, JSON], image(IMAGE), chunked=True)
    assert refusal(reply) == (503, "service_busy")


def test_a_body_that_never_ends_is_given_up_with_a_408(room, bearer, monkeypatch):
    monkeypatch.setattr(waiting_room, "BODY_SECONDS", 0.05)
    reply = room.send_without_end("POST", "/v1/generate", [bearer, JSON], b'{"prompt"')
    assert refusal(reply) == (408, "request_timeout")
    assert reply["Connection"] == "close"


def test_a_body_over_the_limit_is_refused_before_it_has_ended(room, bearer, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    reply = room.send_without_end("POST", "/v1/generate", [bearer, JSON], b"x" * 2000)
    assert refusal(reply) == (413, "payload_too_large")


def test_the_published_limit_of_a_body_is_32_mib(room, bearer):
    assert refusal(room.send("POST", "/v1/generate", [bearer, JSON], b" " * (32 * 1024**2))) == (
        400,
        "invalid_json",
    )
    reply = room.send("POST", "/v1/generate", [bearer, JSON], b" " * (32 * 1024**2 + 1))
    assert refusal(reply) == (413, "payload_too_large")


AUTHORIZATIONS = {
    "none": ([], "unauthorized"),
    "empty": ([""], "unauthorized"),
    "another scheme": (["Basic {key}"], "unauthorized"),
    "the key alone": (["{key}"], "unauthorized"),
    "no key": (["Bearer"], "unauthorized"),
    "blanks as key": (["Bearer   "], "unauthorized"),
    "the key twice": (["Bearer {key}", "Bearer {key}"], "invalid_api_key"),
    "another key first": (["Bearer zk_live_x", "Bearer {key}"], "invalid_api_key"),
    "two keys in one": (["Bearer {key} {key}"], "invalid_api_key"),
    "the key and more": (["Bearer {key}x"], "invalid_api_key"),
    "quotes": (['Bearer "{key}"'], "invalid_api_key"),
    "lower case": (["bearer zk_live_unknown"], "invalid_api_key"),
    "a NUL": (["Bearer zk_\0"], "invalid_api_key"),
    "bytes beyond ASCII": (["Bearer zk_\xff\xfe"], "invalid_api_key"),
    "SQL": (["Bearer zk_' OR '1'='1"], "invalid_api_key"),
    "60,000 characters": (["Bearer zk_" + "x" * 60_000], "invalid_api_key"),
}


@pytest.mark.parametrize(("values", "error_type"), AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_a_missing_doubled_or_malformed_key_is_a_401(room, me, values, error_type):
    headers = [("authorization", value.replace("{key}", me.key)) for value in values]
    reply = room.send("GET", "/v1/balance", headers)
    assert refusal(reply) == (401, error_type)
    assert reply["WWW-Authenticate"].startswith("Bearer")
    assert "x-ratelimit-limit" not in reply.headers


PATHS = [
    "/",
    "//v1/balance",
    "/v1",
    "/v1/",
    "/v1/generate/",
    "/v1/balance/",
    "/v1/generations/",
    "/v1/generations/1",
    "/v1/images",
    "/v1/images/",
    "/v1/images/../balance",
    "/v1/images/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/images/%2e%2e/%2e%2e/etc/passwd",
    "/v1/images/..%5c..%5cwin.ini",
    "/v1/images/%00",
    "/v1/images/" + "0" * 63,
    "/v1/images/" + "0" * 64,
    "/v1/images/" + "0" * 65,
    "/v1/images/" + "A" * 64,
    "/v1/images/" + "g" * 64,
    "/v1/images/" + "\u0660" * 64,
    "/v1/images/" + "0" * 64 + "/",
    "/v1/images/" + "0" * 64 + "%00",
    "/v1/images/" + "0" * 64 + "%0a",
    "/v1/images/" + "0" * 60_000,
    "/v1/images/%ff%fe",
    "/v1/balance%00",
    "/v1/balance%0a",
    "/V1/balance",
    "/v1/./balance",
    "/v2/generate",
    "/static/../manage.py",
    "/static/%2e%2e/manage.py",
    "/healthz/",
    "/%",
    "/%00",
    "/*",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_an_unknown_path_or_token_is_a_404_for_whoever_has_a_key(room, bearer, path):
    assert refusal(room.send("GET", path, [bearer])) == (404, "not_found")


def test_an_unknown_path_is_a_404_before_any_other_check(room):
    assert refusal(room.send("PUT", "/v1/nowhere", [JSON], b"x")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/balance", "/v1/generations", "/v1/images/x"])
def test_another_method_is_a_405_that_names_those_allowed_and_counts_nothing(room, bearer, path):
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO"):
        reply = room.send(method, path, [bearer, JSON], body())
        assert refusal(reply) == (405, "method_not_allowed")
        assert reply["X-RateLimit-Remaining"] == "10000"
        assert reply.json()["error"]["message"].endswith(f"allowed: {reply['Allow']}.")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/balance", 200), ("/v1/generations", 200), ("/v1/images/x", 404), ("/v1/generate", 405)],
)
def test_head_is_answered_as_get_is(room, bearer, path, status):
    asked = {"x-request-id": "one"}
    head, get = (room.send(method, path, [bearer, *asked.items()]) for method in ("HEAD", "GET"))
    assert (head.status_code, get.status_code) == (status, status)
    assert head["Content-Type"] == get["Content-Type"] == "application/json"


QUERIES = {
    "limit=0": "limit must be a whole number of at least 1.",
    "limit=-1": "limit must be",
    "limit=": "limit must be",
    "limit=x": "limit must be",
    "limit=1.5": "limit must be",
    "limit=+1": "limit must be",
    "limit=1e3": "limit must be",
    "limit=%00": "limit must be",
    "limit=%ff": "limit must be",
    "limit=%D9%A3": "limit must be",
    "limit=" + "9" * 5000: "limit must be",
    "offset=-1": "offset must be a whole number of at least 0.",
    "offset=0x10": "offset must be",
    "limit=x&offset=x": "limit must be",
}


@pytest.mark.parametrize(("query", "message"), QUERIES.items(), ids=lambda text: text[:30])
def test_a_limit_or_offset_that_is_no_number_in_range_is_a_400_that_names_it(room, bearer, query, message):
    reply = room.send("GET", f"/v1/generations?{query}", [bearer])
    assert refusal(reply) == (400, "invalid_parameter")
    assert message in reply.json()["error"]["message"]


def test_a_query_of_thousands_of_fields_is_a_400(room, bearer):
    assert refusal(room.send("GET", "/v1/generations?" + "a=1&" * 2000, [bearer])) == (400, "bad_request")


@pytest.mark.parametrize(
    "header",
    [
        ("cookie", "sessionid=\xff; csrftoken=" + "x" * 9000),
        ("accept", "text/html"),
        ("accept", "\xff"),
        ("accept-language", "x" * 10_000),
        ("x-forwarded-host", "evil.example"),
        ("x-http-method-override", "DELETE"),
        ("range", "bytes=0-99999999999"),
        ("if-modified-since", "nonsense"),
        ("x-request-id", "a\r\nb: c"),
        ("content-length", "0"),
        ("user-agent", ""),
    ],
    ids=lambda header: header[0],
)
def test_an_odd_header_changes_nothing(room, bearer, header):
    assert room.send("GET", "/v1/balance", [bearer, header]).json()["success"] is True


@pytest.mark.parametrize("host", ["evil.example", "localhost:x", "", "a b", "\xff", "localhost@evil.example"])
def test_a_host_that_is_not_ours_is_a_400(room, bearer, host):
    assert refusal(room.send("GET", "/v1/balance", [bearer, ("host", host)])) == (400, "bad_request")


def test_checks_come_in_the_contracts_order(room, me, bearer, settings):
    """One request that is wrong in every way is made right step by step; each step meets the next check."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE, settings.REQUESTS_PER_MINUTE = 2000, 0
    settings.OPEN_GENERATIONS_LIMIT = 0
    me.account.__class__.objects.filter(pk=me.account.pk).update(balance_micros=0)
    kinds = []

    def told(method="POST", path="/v1/generate", headers=(), content=b"x" * 2001) -> None:
        kinds.append(refusal(room.send(method, path, headers, content)))

    def told_of(**fields: object) -> None:
        told(headers=[bearer, JSON], content=json.dumps(fields).encode())

    told("PUT", "/v1/nowhere")
    told("PUT")
    told("PUT", headers=[bearer])
    told(headers=[bearer])
    settings.REQUESTS_PER_MINUTE = 1000
    told(headers=[bearer])
    told(headers=[bearer], content=b"x")
    told(headers=[bearer, JSON], content=b"x")
    told_of(model="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", model="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", images=[1, 2, 3])
    told_of(prompt="x", images=[{"data": "x"}])
    told_of(prompt="x", images=[{"data": "aGVsbG8="}])
    told_of(prompt="x")
    settings.OPEN_GENERATIONS_LIMIT = 5
    told_of(prompt="x")
    assert kinds == [
        (404, "not_found"),
        (401, "unauthorized"),
        (405, "method_not_allowed"),
        (429, "rate_limit_exceeded"),
        (413, "payload_too_large"),
        (415, "unsupported_media_type"),
        (400, "invalid_json"),
        (400, "missing_prompt"),
        (400, "invalid_model"),
        (400, "invalid_size"),
        (400, "too_many_images"),
        (400, "invalid_base64"),
        (400, "invalid_image"),
        (429, "concurrency_limit_exceeded"),
        (402, "insufficient_balance"),
    ]
