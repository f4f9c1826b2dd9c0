"""An amount of US dollars in a form, of which the program gets whole micro-dollars."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from billing import money


class UsdField(forms.CharField):
    """An amount over zero with at most four decimal places, or None if it is empty and may be."""

    def __init__(self, **options: Any) -> None:
        attributes = {"inputmode": "decimal", "autocomplete": "off"}
        super().__init__(widget=forms.TextInput(attrs=attributes), **options)

    def to_python(self, value: Any) -> Any:
        """Return the micros. Raises ValidationError."""
        text = super().to_python(value)
        if not text:
            return None
        try:
            micros = money.parse_usd(text.removeprefix("$"))
            money.check_amount(micros)
        except ValueError:
            message = "Enter an amount of US dollars over zero, with at most four decimal places, such as 25 or 9.9733."
            raise ValidationError(message) from None
        return micros

    def prepare_value(self, value: Any) -> Any:
        """Return the text that the form shows: that of an amount, or the one that was typed."""
        return money.format_usd(value) if isinstance(value, int) else value
