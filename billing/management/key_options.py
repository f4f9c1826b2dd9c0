"""The options of commands that say what a key grants."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.core.management.base import CommandParser

from billing import grants, money
from billing.models import ApiKey

NONE: Final = "none"


def add_to(parser: CommandParser) -> None:
    """Add the options. Those that are not given leave nothing in the command's options."""
    for option, field, read, metavar, text in (
        ("--scopes", "scopes", _words, "A,B", f"what it may be used for, among {', '.join(grants.Scope)}"),
        ("--expires", "expires_at", _time, "TIME", "when it stops, in ISO 8601, in UTC without an offset"),
        ("--allow-ips", "allowed_ips", _words, "A,B", "the addresses and networks that may use it"),
        ("--models", "allowed_models", _words, "A,B", "the models that it may use"),
        ("--requests", "requests_per_minute", int, "N", "requests in any 60 seconds"),
        ("--open", "open_limit", int, "N", "open generations"),
        (
            "--spend",
            "spend",
            _spend,
            "USD/PERIOD",
            "what it may spend, such as 25.00/month: day, month or total",
        ),
    ):
        parser.add_argument(
            option,
            dest=field,
            type=_or_none(read),
            default=argparse.SUPPRESS,
            metavar=metavar,
            help=text if field == "scopes" else f"{text}, or `{NONE}` for no such bound",
        )


def read(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, by the names of `Grants`."""
    fields = {name: value for name, value in options.items() if name in grants.Grants.__annotations__}
    if "spend" in options:
        fields |= options["spend"] or {"spend_limit_micros": None}
    return fields


def describe(key: ApiKey) -> str:
    """Return what the key grants, for people."""
    bounds = [
        f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "",
        f"from {', '.join(key.allowed_ips)}" if key.allowed_ips else "",
        f"with {', '.join(key.allowed_models)}" if key.allowed_models else "",
        f"{key.requests_per_minute} requests a minute" if key.requests_per_minute else "",
        f"{key.open_limit} open generations" if key.open_limit else "",
        f"{money.format_usd(key.spend_limit_micros)} USD/{key.spend_period}"
        if key.spend_limit_micros
        else "",
    ]
    return "; ".join([", ".join(key.scopes), *filter(None, bounds)])


def _or_none(read_value: Any) -> Any:
    def read_or_none(text: str) -> Any:
        return None if text == NONE else read_value(text)

    return read_or_none


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split())


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _spend(text: str) -> dict[str, Any]:
    amount, _, period = text.partition("/")
    return {"spend_limit_micros": money.parse_usd(amount), "spend_period": period}
