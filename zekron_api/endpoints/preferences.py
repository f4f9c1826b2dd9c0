"""The header Prefer of a request (RFC 7240): whether the client waits for its image, and for how long."""

import re
from typing import NamedTuple

# Other preferences, and values that make no sense, are ignored as the RFC says.
_PREFERENCE = re.compile(r'\s*([\w-]+)\s*(?:=\s*"?([^";,]*)"?\s*)?(?:;.*)?')
_MAX_DIGITS = 6


class Preference(NamedTuple):
    """The preferences of a request. `wait_seconds` is None if the header names no time."""

    respond_async: bool
    wait_seconds: int | None


def read(header: str) -> Preference:
    """Return the preferences in the header. The first of two equal names counts."""
    named: dict[str, str] = {}
    for part in header.split(","):
        if found := _PREFERENCE.fullmatch(part):
            named.setdefault(found[1].lower(), (found[2] or "").strip())
    wait = named.get("wait", "")
    is_time = wait.isascii() and wait.isdigit() and len(wait) <= _MAX_DIGITS
    return Preference("respond-async" in named, int(wait) if is_time else None)
