"""Reads the environment: a bad or missing value stops the process with one line that says which and why."""

import base64
import binascii
import os
from collections.abc import Mapping


def text(name: str, default: str | None = None) -> str:
    """The variable's text, or `default` where it is unset or empty; without a default it must be set."""
    value = os.environ.get(name) or default
    if value is None:
        raise refusal(name, "is not set, and has no default outside a local machine")
    return value


def secret(name: str, default: str | None = None, *, least_characters: int) -> str:
    """A text that is too long to be guessed."""
    value = text(name, default)
    if len(value) < least_characters:
        raise refusal(name, f"has {len(value)} characters; it must have at least {least_characters}")
    return value


def names(name: str) -> frozenset[str]:
    """The words of a text with commas; none where it is unset or empty."""
    return frozenset(word.strip() for word in text(name, "").split(",") if word.strip())


def flag(name: str, *, default: bool) -> bool:
    """True for 1, true, yes, on; False for 0, false, no, off; in any case of letters."""
    value = text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise refusal(name, "is neither 1 nor 0")


def integer(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`, in the unit that the variable's name ends with."""
    value = text(name, str(default))
    if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
        raise refusal(name, f"is not a whole number from {least} to {most}")
    return int(value)


def master_keys(name: str, default: str | None = None) -> Mapping[str, bytes]:
    """Master keys by id, in their order: `id:base64,id:base64`, each 32 bytes. The first one seals."""
    ring: dict[str, bytes] = {}
    for item in text(name, default).split(","):
        key_id, _, encoded = item.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise refusal(name, f"has a key {key_id!r} that is not base64") from None
        if not (key_id.isascii() and key_id.isalnum() and len(key_id) <= 16):
            raise refusal(name, "has a key whose id is not 1 to 16 letters and digits")
        if len(key) != 32:
            raise refusal(name, f"has a key {key_id!r} of {len(key)} bytes; it must have 32")
        if key_id in ring:
            raise refusal(name, f"names the key {key_id!r} twice")
        ring[key_id] = key
    return ring


def refusal(name: str, why: str) -> SystemExit:
    """What to raise for a variable that cannot be used: ends the process with status 1 and one line."""
    return SystemExit(f"zekron: the environment variable {name} {why}.")
