"""Sizes of images: free ones within bounds, the nearest allowed one, and `auto`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers.models import Generation
from zekron_api.endpoints import sizes
from zekron_api.endpoints.sizes import Size

pytestmark = pytest.mark.django_db(transaction=True)
SIDES = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        ((512, 512), True),
        ((256, 256), True),
        ((240, 256), False),
        ((2048, 688), True),
        ((2064, 1024), False),
        ((1536, 1536), True),
        ((1552, 1536), False),
        ((768, 256), True),
        ((784, 256), False),
        ((1000, 1000), False),
        ((1024, 1000), False),
    ],
)
def test_the_bounds_of_a_size(asked: tuple[int, int], is_allowed: bool) -> None:
    for size in (Size(*asked), Size(*reversed(asked))):
        assert size.is_allowed == is_allowed
        assert (sizes.nearest(size) == size) == is_allowed


@given(st.builds(Size, SIDES, SIDES))
def test_each_size_has_an_allowed_one_near_it(size: Size) -> None:
    assert sizes.nearest(size).is_allowed


@given(st.builds(Size, SIDES, SIDES))
def test_auto_has_about_a_megapixel_and_the_shape_of_the_source(size: Size) -> None:
    chosen = sizes.shape_like(size)
    assert chosen.is_allowed
    assert chosen.width * chosen.height == pytest.approx(1024 * 1024, rel=0.04)
    shape = min(max(size.width / size.height, 1 / 3), 3)
    assert chosen.width / chosen.height == pytest.approx(shape, rel=0.04)


@given(st.builds(Size, st.integers(1, 2100), st.integers(1, 2100)))
def test_the_pattern_of_the_document_refuses_no_allowed_size(size: Size) -> None:
    assert re.search(sizes.PATTERN, str(size)) or not size.is_allowed


@pytest.mark.parametrize(
    ("size", "advice"),
    [
        ("1000x1000", "The nearest allowed size is 992x992"),
        ("4096x4096", "The nearest allowed size is 1536x1536"),
        ("1x1", "The nearest allowed size is 256x256"),
        ("3000x100", "The nearest allowed size is 768x256"),
        ("0512x512", "Unknown size. Allowed: 512x512"),
        ("1024x1024x3", "Unknown size"),
        ("\u0661024x1024", "Unknown size"),
        ("9" * 5000 + "x1", "Unknown size"),
        ("Auto", "Unknown size"),
    ],
)
def test_a_size_beyond_the_bounds_is_refused_with_advice(me: Caller, size: str, advice: str) -> None:
    response = me.generate(size=size)
    assert refusal(response) == (400, "invalid_size")
    assert advice in response.json()["error"]["message"]


def test_a_free_size_is_made_and_priced_by_its_pixels(me: Caller, engine: factories.StandInEngine) -> None:
    made = me.generate(size="1536x1024").json()["data"]
    assert (made["size"], made["cost"]) == ("1536x1024", "0.0276")
    [order] = engine.orders
    assert (order.width, order.height) == (1536, 1024)


@pytest.mark.parametrize(
    ("source", "size"),
    [(None, "1024x1024"), ((200, 100), "1456x720"), ((100, 100), "1024x1024"), ((64, 512), "592x1776")],
)
def test_auto_follows_the_first_source(
    me: Caller, engine: factories.StandInEngine, source: tuple[int, int] | None, size: str
) -> None:
    images = [{"data": picture(size=source)}, {"data": picture(size=(300, 80))}] if source else []
    assert me.generate(size="auto", images=images).json()["data"]["size"] == size
    assert Generation.objects.get().size == size


def test_auto_of_a_number_of_images_cannot_be_quoted(me: Caller) -> None:
    quote = {"prompt": "x", "size": "auto"}
    assert refusal(me.post("/v1/quote", {**quote, "images": 1})) == (400, "invalid_size")
    assert me.post("/v1/quote", {**quote, "images": 0}).json()["data"]["resolved_size"] == "1024x1024"
