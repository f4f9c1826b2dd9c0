"""The download of an image by clients that have it, or a part of it, and the expiry that they do not get around."""

import base64
import logging
import re
from typing import Any

import pytest

from storage import images
from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_TAG = '"' + "0" * 32 + '"'


@pytest.fixture
def data(me: Caller, engine: factories.StandInEngine) -> dict[str, Any]:
    """Return the data of a completed create."""
    return me.generate().json()["data"]


@pytest.fixture
def path(data: dict[str, Any]) -> str:
    return f"/v1/images/{data['token']}"


@pytest.fixture
def content(data: dict[str, Any]) -> bytes:
    return base64.b64decode(data["image"]["b64_json"])


def test_an_image_has_a_name_and_a_validator_that_never_changes(
    me: Caller, path: str, data: dict[str, Any]
) -> None:
    first, second = me.get(path), me.get(path)
    assert first["Content-Disposition"] == f'inline; filename="zekron-{data["id"]}.png"'
    assert first["Accept-Ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]{32}"', first["ETag"])
    assert first["ETag"] == second["ETag"]
    other = me.generate().json()["data"]["token"]
    assert me.get(f"/v1/images/{other}")["ETag"] != first["ETag"]
    assert data["token"][:8] not in first["ETag"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_client_that_has_the_image_gets_a_304_without_a_read_of_the_store(
    me: Caller, path: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = me.get(path)["ETag"]
    monkeypatch.setattr(images, "load", None)
    response = me.get(path, **{"If-None-Match": form.format(tag)})
    assert (response.status_code, response.content, response["ETag"]) == (304, b"", tag)
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-RateLimit-Remaining"] == "57"


def test_a_client_that_has_another_image_gets_this_one(me: Caller, path: str, content: bytes) -> None:
    response = me.get(path, **{"If-None-Match": OTHER_TAG})
    assert (response.status_code, response.content) == (200, content)


def test_an_image_that_is_not_the_one_that_the_client_means_is_refused(
    me: Caller, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    tag = me.get(path)["ETag"]
    assert me.get(path, **{"If-Match": tag}).status_code == 200
    assert me.get(path, **{"If-Match": "*"}).status_code == 200
    with caplog.at_level(logging.DEBUG):
        assert refusal(me.get(path, **{"If-Match": OTHER_TAG})) == (412, "precondition_failed")
    # Django logs the path, which holds the token.
    assert path not in caplog.text


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-99", 0, 99), ("bytes=100-", 100, -1), ("bytes=-100", -100, -1), ("Bytes= 5-5 ", 5, 5)],
)
def test_a_part_is_sent_and_says_where_it_belongs(
    me: Caller, path: str, content: bytes, header: str, first: int, last: int
) -> None:
    first, last = first % len(content), last % len(content)
    response = me.get(path, Range=header)
    assert (response.status_code, response.content) == (206, content[first : last + 1])
    assert response["Content-Range"] == f"bytes {first}-{last}/{len(content)}"
    assert response["Content-Length"] == str(last + 1 - first)
    assert response["Content-Type"] == "image/png"
    assert response["Cache-Control"] == "private, no-store"
    assert response["ETag"] == me.get(path)["ETag"]


def test_a_download_that_broke_off_is_continued_only_in_the_same_image(
    me: Caller, path: str, content: bytes
) -> None:
    tag = me.get(path)["ETag"]
    parts = [me.get(path, Range="bytes=0-99"), me.get(path, **{"Range": "bytes=100-", "If-Range": tag})]
    assert b"".join(part.content for part in parts) == content
    for other in (OTHER_TAG, f"W/{tag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        whole = me.get(path, **{"Range": "bytes=100-", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, content)


def test_a_part_behind_the_end_is_refused_with_the_length(me: Caller, path: str, content: bytes) -> None:
    for header in (f"bytes={len(content)}-", f"bytes={len(content)}-{len(content) + 5}", "bytes=-0"):
        response = me.get(path, Range=header)
        assert refusal(response) == (416, "range_not_satisfiable")
        assert response["Content-Range"] == f"bytes */{len(content)}"
    assert me.get(path, Range=f"bytes=0-{len(content) * 9}").content == content


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-4",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,5-6",
        "lines=0-1",
        "bytes 0-1",
        "x",
        "bytes=" + "9" * 99 + "-",
    ],
)
def test_a_range_that_is_not_understood_gets_the_whole_image(
    me: Caller, path: str, content: bytes, header: str
) -> None:
    response = me.get(path, Range=header)
    assert (response.status_code, response.content) == (200, content)


def test_head_has_no_parts_and_knows_the_validator(me: Caller, path: str, content: bytes) -> None:
    headers = [("authorization", f"Bearer {me.key}")]
    with asgi_client.served() as room:
        head = room.send("HEAD", path, [*headers, ("range", "bytes=0-99")])
        unchanged = room.send("HEAD", path, [*headers, ("if-none-match", head["ETag"])])
        part = room.send("GET", path, [*headers, ("range", "bytes=0-99")])
    assert (head.status_code, head["Content-Length"], head.content) == (200, str(len(content)), b"")
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (part.status_code, part.content) == (206, content[:100])


@pytest.mark.parametrize("name", ["If-None-Match", "Range", "If-Match", "If-Range"])
def test_an_expired_image_is_gone_for_clients_that_have_it_or_a_part_of_it(
    me: Caller, stranger: Caller, path: str, data: dict[str, Any], name: str
) -> None:
    value = "bytes=0-99" if name == "Range" else me.get(path)["ETag"]
    assert refusal(stranger.get(path, **{name: value})) == (403, "access_denied")
    factories.expire_image(data["id"])
    for _ in range(2):
        assert refusal(me.get(path, **{name: value})) == (410, "expired")
        images.purge()


@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "*"}, {"Range": "bytes=0-9"}])
def test_an_image_whose_key_was_destroyed_early_is_gone(
    me: Caller, path: str, headers: dict[str, str]
) -> None:
    images.destroy_keys(image_ids=StoredImage.objects.values_list("pk", flat=True))
    assert Generation.objects.get().image.wrapped_key is None
    assert refusal(me.get(path, **headers)) == (410, "expired")


def test_an_error_while_the_image_is_read_has_none_of_its_headers(
    me: Caller, path: str, objects_folder: Any
) -> None:
    for file in objects_folder.rglob("*"):
        if file.is_file():
            file.unlink()
    response = me.get(path, Range="bytes=0-9")
    assert refusal(response)[0] == 500
    assert not {"ETag", "Content-Disposition", "Accept-Ranges", "Content-Range"} & set(response.headers)
