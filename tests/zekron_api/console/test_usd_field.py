"""Amounts of US dollars in forms become whole micro-dollars, and nothing else passes."""

import pytest
from django.core.exceptions import ValidationError

from zekron_api.console.usd_field import UsdField


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("25", 25_000_000),
        (" 9.9733 ", 9_973_300),
        ("$10.50", 10_500_000),
        ("0.0001", 100),
    ],
)
def test_an_amount_becomes_micros(text: str, micros: int) -> None:
    assert UsdField().clean(text) == micros


@pytest.mark.parametrize(
    "text", ["0", "0.00", "-1", "1,5", "1.23456", "1e3", "ten", "1000000000", "٣", "1 000"]
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="Enter an amount of US dollars over zero"):
        UsdField().clean(text)


def test_an_empty_field_is_no_amount_where_it_may_be() -> None:
    assert UsdField(required=False).clean("  ") is None
    with pytest.raises(ValidationError, match="required"):
        UsdField().clean("")


def test_a_form_shows_the_amount_and_keeps_what_was_typed() -> None:
    assert UsdField().prepare_value(9_973_300) == "9.9733"
    assert UsdField().prepare_value("1,5") == "1,5"
