"""Amounts are read and written exactly, and prices are the published ones."""

import tomllib
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import format_usd, parse_usd
from billing.prices import PIXELS_PER_MEGAPIXEL, PriceRule

TABLE = {
    "base": "0.0250",
    "per_megapixel": "0.0017",
    "per_source_image": "0.0004",
    "least": "0.0250",
    "most": "0.0290",
}
RULE = PriceRule.parse(TABLE)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("10", 10_000_000),
        ("10.00", 10_000_000),
        ("0.0267", 26_700),
        (" 0.5 ", 500_000),
        ("0", 0),
        ("999999999.9999", 999_999_999_999_900),
    ],
)
def test_an_amount_is_read_exactly(text: str, micros: int) -> None:
    assert parse_usd(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten",
        "-1",
        "+1",
        "1e3",
        "1.00001",
        ".5",
        "5.",
        "1,000.00",
        "$5",
        "٣",
        "1 0",
        "NaN",
        "1000000000",
        "1\n2",
    ],
)
def test_what_is_no_amount_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount of US dollars") as caught:
        parse_usd(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("micros", "text"),
    [(9_973_300, "9.9733"), (0, "0.0000"), (100, "0.0001"), (-26_700, "-0.0267"), (10_000_000, "10.0000")],
)
def test_an_amount_is_shown_with_four_places(micros: int, text: str) -> None:
    assert format_usd(micros) == text


def test_an_amount_that_four_places_cannot_show_is_refused() -> None:
    with pytest.raises(ValueError, match="26750"):
        format_usd(26_750)


@given(st.integers(0, 9_999_999_999_999).map(lambda steps: steps * 100))
def test_what_is_shown_reads_back(micros: int) -> None:
    assert parse_usd(format_usd(micros)) == micros


# base 25,000 and 1,700 a megapixel: a quarter is 425, three quarters 1,275, which rounds half up to 1,300.
@pytest.mark.parametrize(
    ("size", "source_count", "micros"),
    [
        ((512, 512), 0, 25_400),
        ((512, 512), 1, 25_800),
        ((512, 512), 2, 26_200),
        ((1024, 768), 0, 26_300),
        ((1024, 768), 1, 26_700),
        ((1024, 768), 2, 27_100),
        ((768, 1024), 0, 26_300),
        ((768, 1024), 1, 26_700),
        ((768, 1024), 2, 27_100),
        ((1024, 1024), 0, 26_700),
        ((1024, 1024), 1, 27_100),
        ((1024, 1024), 2, 27_500),
    ],
)
def test_the_price_of_each_size_and_number_of_sources(
    size: tuple[int, int], source_count: int, micros: int
) -> None:
    assert RULE.quote_micros(width=size[0], height=size[1], source_count=source_count) == micros


def test_a_price_stays_within_its_least_and_most() -> None:
    assert RULE.quote_micros(width=4096, height=4096, source_count=0) == 29_000
    dear = PriceRule.parse({**TABLE, "least": "0.0280"})
    assert dear.quote_micros(width=1, height=1, source_count=0) == 28_000


@pytest.mark.parametrize(("steps_of_a_hundredth", "micros"), [(49, 100), (50, 200), (149, 200), (150, 300)])
def test_half_a_step_is_rounded_up(steps_of_a_hundredth: int, micros: int) -> None:
    rule = PriceRule(
        base_micros=100 + steps_of_a_hundredth,
        megapixel_micros=0,
        source_image_micros=0,
        least_micros=100,
        most_micros=10_000,
    )
    assert rule.quote_micros(width=1, height=1, source_count=0) == micros


def test_the_configured_model_has_the_published_prices() -> None:
    models = tomllib.loads((Path(__file__).parents[2] / "models.toml").read_text())
    assert PriceRule.parse(models["zekron-image-1"]["price"]) == RULE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base": 0.025}, "text in quotes"),
        ({"base": "cheap"}, "not an amount"),
        ({"tax": "0.1"}, "exactly"),
        ({"least": "0"}, "over zero"),
        ({"least": "0.03"}, "must not be over most"),
    ],
)
def test_a_price_table_that_says_nothing_sure_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PriceRule.parse({**TABLE, **change})


def test_a_price_table_that_lacks_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly"):
        PriceRule.parse({"base": "0.0250"})


@pytest.mark.parametrize("bad", [{"width": 0}, {"height": -1}, {"source_count": -1}])
def test_a_quote_for_nothing_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="width and height must be positive"):
        RULE.quote_micros(**{"width": 64, "height": 64, "source_count": 0, **bad})


_amounts = st.integers(min_value=0, max_value=2_000).map(lambda steps: format_usd(100 * steps))


@given(
    base=_amounts,
    per_megapixel=_amounts,
    per_source_image=_amounts,
    bounds=st.tuples(_amounts, _amounts).map(sorted).filter(lambda pair: pair[0] != "0.0000"),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    source_count=st.integers(0, 16),
)
def test_the_lines_of_a_price_add_up_to_it_whatever_is_rounded_or_bounded(
    base: str,
    per_megapixel: str,
    per_source_image: str,
    bounds: list[str],
    width: int,
    height: int,
    source_count: int,
) -> None:
    rule = PriceRule.parse(
        {
            "base": base,
            "per_megapixel": per_megapixel,
            "per_source_image": per_source_image,
            "least": bounds[0],
            "most": bounds[1],
        }
    )
    price = rule.quote_micros(width=width, height=height, source_count=source_count)
    lines = rule.itemise(width=width, height=height, source_count=source_count)
    # The price by decimal arithmetic, in dollars.
    exact = (
        Decimal(base)
        + Decimal(per_megapixel) * width * height / PIXELS_PER_MEGAPIXEL
        + Decimal(per_source_image) * source_count
    )
    rounded = exact.quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert format_usd(price) == str(min(max(rounded, Decimal(bounds[0])), Decimal(bounds[1])))
    assert sum(line.micros for line in lines) == price
    # Each line can be shown, and those that add to the price are not negative.
    amounts = {line.what: format_usd(line.micros) for line in lines}
    assert amounts["base"] == base
    assert len(amounts) == len(lines)
    assert all(line.micros >= 0 for line in lines if line.what != "maximum")
    assert not ("minimum" in amounts and "maximum" in amounts)


def test_a_price_says_which_bound_it_is_kept_within() -> None:
    assert RULE.itemise(width=1024, height=1024, source_count=1) == [
        ("base", 25_000),
        ("size", 1_700),
        ("source_images", 400),
    ]
    assert RULE.itemise(width=4096, height=4096, source_count=0)[-1] == ("maximum", -23_200)
    dear = PriceRule.parse({**TABLE, "least": "0.0280"})
    assert dear.itemise(width=1024, height=1024, source_count=0)[-1] == ("minimum", 1_300)
