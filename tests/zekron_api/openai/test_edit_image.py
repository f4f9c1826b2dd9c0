"""POST /v1/images/edits: every way in which clients send files."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests import factories
from tests.assertions import openai_refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from tests.zekron_api.openai.conftest import Send
from workers.models import Generation
from zekron_api.http.json_body import MAX_PARTS
from zekron_api.http.multipart_form import Form, Part
from zekron_api.openai import form_fields

pytestmark = pytest.mark.django_db(transaction=True)
PICTURE = base64.b64decode(picture())
# One more than a form may have, each with a name of its own.
MANY_PARTS = b"".join(
    b'--b\r\nContent-Disposition: form-data; name="x%d"\r\n\r\na\r\n' % number for number in range(101)
)
MANY_PARTS += b"--b--\r\n"
DATA_URL = f"data:image/png;base64,{picture()}"


def file(size: tuple[int, int], mode: str = "RGB", colour: Any = "red") -> bytes:
    """Return a PNG."""
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]", "images", "images[]"])
def test_a_form_names_its_files_as_its_client_does(
    edit: Send, engine: factories.StandInEngine, name: str
) -> None:
    assert edit({name: PICTURE}).status_code == 200
    [order] = engine.orders
    assert len(order.sources) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"image[]": [file((64, 64)), file((64, 64), colour="blue")]},
        {"image": [file((64, 64)), file((64, 64), colour="blue")]},
        {"image[0]": file((64, 64)), "image[1]": file((64, 64), colour="blue")},
    ],
)
def test_two_files_keep_their_order(edit: Send, engine: factories.StandInEngine, files: Any) -> None:
    assert edit(files).status_code == 200
    [order] = engine.orders
    assert [source.convert("RGB").getpixel((0, 0)) for source in order.sources] == [(255, 0, 0), (0, 0, 255)]


def test_a_file_without_a_name_is_a_file(me: Caller, engine: factories.StandInEngine) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + PICTURE + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na boat\r\n--b--\r\n'
    )
    reply = me.client.generic(
        "POST",
        "/v1/images/edits",
        body,
        content_type="multipart/form-data; boundary=b",
        headers={"Authorization": f"Bearer {me.key}"},
    )
    assert reply.status_code == 200
    assert Generation.objects.get().kind == "edit"


def test_texts_of_a_form_are_numbers_and_truths(edit: Send, engine: factories.StandInEngine) -> None:
    fields = {
        "n": "2",
        "seed": "7",
        "size": "512x512",
        "stream": "False",
        "output_format": "jpeg",
        "output_compression": "80",
        "quality": "",
        "metadata[order]": "7",
        "input_fidelity": "high",
        "user": "",
    }
    reply = edit({"image": PICTURE}, **fields)
    assert [image["seed"] for image in reply.json()["data"]] == [7, 8]
    assert reply.json()["output_format"] == "jpeg"
    assert Generation.objects.first().parameters["metadata"] == {"order": "7"}


@pytest.mark.parametrize("field", ["n", "seed", "output_compression", "partial_images"])
@pytest.mark.parametrize("text", ["two", "1.5", "true", "1e999", "[1]", "NaN"])
def test_a_number_that_is_none_is_refused_by_name(edit: Send, field: str, text: str) -> None:
    reply = edit({"image": PICTURE}, **{field: text})
    assert openai_refusal(reply) == (400, "invalid_parameter")
    assert reply.json()["error"]["param"] == field


def test_the_size_is_that_of_the_first_image_unless_another_is_named(
    edit: Send, engine: factories.StandInEngine
) -> None:
    assert edit({"image": file((200, 100))}).json()["size"] == "1456x720"
    assert edit({"image": file((200, 100))}, size="512x512").json()["size"] == "512x512"


def test_json_has_data_urls(me: Caller, engine: factories.StandInEngine) -> None:
    reply = me.post(
        "/v1/images/edits",
        {"prompt": "a boat", "images": [{"image_url": DATA_URL}] * 2, "size": "512x512"},
    )
    assert reply.status_code == 200
    usage = reply.json()["usage"]
    width, height = Image.open(io.BytesIO(PICTURE)).size
    assert usage["input_tokens_details"]["image_tokens"] == 2 * -(-width // 16) * -(-height // 16)
    assert usage["output_tokens_details"]["image_tokens"] == 1024


def test_a_mask_is_that_of_the_service(edit: Send, engine: factories.StandInEngine, me: Caller) -> None:
    mask = file((64, 64), "RGBA", (0, 0, 0, 0))
    source = file((64, 64))
    assert edit({"image": source, "mask": mask}).status_code == 200
    urls = [f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in (source, mask)]
    body = {"prompt": "a boat", "images": [{"image_url": urls[0]}], "mask": {"image_url": urls[1]}}
    assert me.post("/v1/images/edits", body).status_code == 200
    assert [order.mask is not None for order in engine.orders] == [True, True]


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (None, "missing_image"),
        ([], "missing_image"),
        ("data:,", "invalid_base64"),
        ([DATA_URL], "invalid_base64"),
        ([{}], "invalid_base64"),
        ([{"image_url": "data:image/png;base64,!"}], "invalid_base64"),
        ([{"image_url": "data:image/png;base64,AAAA"}], "invalid_image"),
        ([{"image_url": "https://example.com/a.png"}], "unsupported_image_url"),
        ([{"file_id": "file-1"}], "unsupported_file_id"),
        ([{"image_url": DATA_URL}] * 3, "too_many_images"),
    ],
)
def test_images_that_cannot_be_edited_are_refused(me: Caller, images: Any, code: str) -> None:
    reply = me.post("/v1/images/edits", {"prompt": "a boat", "images": images})
    assert openai_refusal(reply) == (400, code)
    assert reply.json()["error"]["param"] == "image"
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("mask", "code"),
    [
        ("data:,", "invalid_base64"),
        ({}, "invalid_base64"),
        ({"image_url": "https://example.com/a.png"}, "unsupported_image_url"),
        ({"file_id": "file-1"}, "unsupported_file_id"),
    ],
)
def test_a_mask_that_would_be_fetched_is_refused(me: Caller, mask: Any, code: str) -> None:
    body = {"prompt": "a boat", "images": [{"image_url": DATA_URL}], "mask": mask}
    reply = me.post("/v1/images/edits", body)
    assert openai_refusal(reply) == (400, code)
    assert reply.json()["error"]["param"] == "mask"


@pytest.mark.parametrize(
    ("files", "fields", "param"),
    [
        ({"image": PICTURE, "markup": PICTURE}, {}, "markup"),
        ({"image": b"not a picture"}, {}, "image"),
        ({"image": PICTURE, "mask": b"not a mask"}, {}, "mask"),
        ({"image": [PICTURE] * 3}, {}, "image"),
        ({}, {}, "image"),
        ({"image": PICTURE}, {"prompt": ""}, "prompt"),
        ({"image": PICTURE}, {"stream": "maybe"}, "stream"),
        ({"image": PICTURE}, {"metadata": "[]"}, "metadata"),
        ({"image": PICTURE}, {"metadata": '{"a": "1", "a": "2"}'}, "metadata"),
    ],
)
def test_a_form_that_cannot_be_honoured_is_refused_by_name(
    edit: Send, files: Any, fields: dict[str, Any], param: str
) -> None:
    reply = edit(files, **fields)
    assert openai_refusal(reply)[0] == 400
    assert reply.json()["error"]["param"] == param
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"--", "b"),
        (b"--b\r\n", "b"),
        (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc', "b"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--b--\r\n", "b"),
        (b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\xff\r\n--b--\r\n', "b"),
        (b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n' * 2 + b"--b--\r\n", "b"),
        (MANY_PARTS, "b"),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"\r\n--bc" * 102 + b"\r\n--b--", "b"),
        (b"--b--\r\n", ""),
    ],
)
def test_a_broken_form_is_refused(me: Caller, body: bytes, boundary: str) -> None:
    reply = me.client.generic(
        "POST",
        "/v1/images/edits",
        body,
        content_type=f"multipart/form-data; boundary={boundary}",
        headers={"Authorization": f"Bearer {me.key}"},
    )
    assert openai_refusal(reply) == (400, "invalid_form")


def test_a_form_is_for_edits_alone(me: Caller) -> None:
    for path in ("/v1/images/generations", "/v1/generate"):
        reply = me.client.post(path, {"prompt": "a boat"}, headers={"Authorization": f"Bearer {me.key}"})
        assert reply.status_code == 415


@pytest.mark.parametrize("name", ["seed", "metadata"])
def test_a_text_of_a_form_is_read_within_the_bounds_of_a_body(name: str) -> None:
    text = "[" + "0," * MAX_PARTS + "0]"
    assert form_fields.read(Form([Part(name, text.encode())])) == {name: text}
