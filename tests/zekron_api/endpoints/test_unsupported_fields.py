"""Fields of other services that would cost the client money if they were ignored: refused by name, and free."""

import unicodedata
from typing import Any

import pytest

from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers.models import Generation
from zekron_api.endpoints.fields import PromptField
from zekron_api.http.errors import InvalidField

pytestmark = pytest.mark.django_db(transaction=True)

IMAGE = {"data": picture()}


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("image", picture(), "Send images: an array"),
        ("image", IMAGE, "Send images: an array"),
        ("image", [IMAGE], "Send images: an array"),
        ("image", "", "Send images: an array"),
        ("image_url", "https://example.com/a.png", "no address is fetched. Send images: an array"),
        ("Images", [IMAGE], "Send images: an array"),
        ("Image", picture(), "Send images: an array"),
        ("init_image", picture(), "Send images: an array"),
        ("imageUrl", "https://example.com/a.png", "no address is fetched"),
        ("image_urls", ["https://example.com/a.png"], "no address is fetched"),
        ("mask-image", picture(), "Send mask: an object"),
        ("N", 4, "Send n"),
        ("num_images", 4, "Send n"),
        ("numberOfImages", 4, "Send n"),
    ],
)
def test_a_field_that_asks_for_another_image_is_refused_by_name_with_advice(
    me: Caller, idle_worker: None, name: str, value: Any, advice: str
) -> None:
    response = me.generate(**{name: value})
    assert refusal(response) == (400, "unsupported_parameter")
    message = response.json()["error"]["message"]
    assert message.startswith(f"{name} ")
    assert advice in message
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"n": 1, "image": None, "image_url": None, "mask": None},
        {"n": None, "num_images": 1, "imageUrl": None},
        {"n": 1.0},
        {
            "seed": 4,
            "style": "vivid",
            "user": "me",
            "imagery": 3,
            "masks": 4,
            "_" * 100 + "n": 4,
        },
    ],
)
def test_fields_that_ask_for_nothing_else_and_unknown_fields_are_ignored(
    me: Caller, engine: factories.StandInEngine, body: dict[str, Any]
) -> None:
    assert me.generate(**body).status_code == 200


def test_a_published_error_comes_before_an_unsupported_field(me: Caller) -> None:
    assert refusal(me.generate(prompt="", num_images=4)) == (400, "missing_prompt")
    assert refusal(me.generate(images=[IMAGE] * 3, mask="x")) == (400, "too_many_images")


INVISIBLE = [
    "\u200b",
    "\ufeff",
    "\ufe0f",
    "\u200b \u200d\n\ufe0e",
    "\u00ad",
    "\u2063",
    "\u3164",
    "\U000e0100",
    "\x01",
]


@pytest.mark.parametrize("prompt", INVISIBLE, ids=ascii)
def test_a_prompt_without_a_visible_character_is_missing(me: Caller, idle_worker: None, prompt: str) -> None:
    response = me.generate(prompt=prompt)
    assert refusal(response) == (400, "missing_prompt")
    assert response.json()["error"]["message"] == "prompt must not be blank. It has no visible character."


@pytest.mark.parametrize(
    "prompt", ["\u200bx", "\U0001f3d6\ufe0f", "\u0301", "\u0634", "\u06dd", "?", "\u2062\u5c71"], ids=ascii
)
def test_a_prompt_with_a_visible_character_is_kept_as_it_is(
    me: Caller, engine: factories.StandInEngine, prompt: str
) -> None:
    assert me.generate(prompt=prompt).json()["data"]["prompt"] == prompt


def test_every_space_control_and_invisible_format_character_is_blank() -> None:
    # These format characters are drawn: signs around numbers and verses, and the controls of hieroglyphs.
    drawn = {
        *range(0x600, 0x606),
        0x6DD,
        0x70F,
        0x890,
        0x891,
        0x8E2,
        0x110BD,
        0x110CD,
        *range(0x13430, 0x13456),
    }
    for point in set(range(1, 0x110000)) - drawn:
        if unicodedata.category(chr(point)) in {"Zs", "Zl", "Zp", "Cc", "Cf"}:
            with pytest.raises(InvalidField, match="no visible character"):
                PromptField().checked(chr(point))
