"""Amounts of money in templates."""

from django import template

from billing.money import format_usd

register = template.Library()


@register.filter
def dollars(micros: int) -> str:
    """Return the amount alone, such as 9.9733, where the currency stands beside it."""
    return format_usd(micros)


@register.filter
def usd(micros: int) -> str:
    """Return the amount with its currency, such as 9.9733 USD."""
    return f"{format_usd(micros)} USD"
