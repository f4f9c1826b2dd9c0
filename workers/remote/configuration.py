"""The options of a remote model's entry, and the key of its server, which only the environment has."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from environs import FileAwareEnv

from workers.catalogue import OMITTED_FIELDS, ImageModel
from workers.engine.interface import Misconfigured
from workers.engine.options import Option, is_number, is_text, read

MAX_TIMEOUT_SECONDS: Final = 3600
# The fields that a server may do without.
OMITTABLE: Final = frozenset({"model", "output_format", "response_format", "seed"})
# These come from each order. Another `n`, for instance, would have the server bill for more.
_OF_AN_ORDER: Final = frozenset({"prompt", "n", "size", "seed", "image", "mask", "stream"})
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")


def _is_base_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        has_port = parts.port != 0
        # The client refuses more than urllib, such as a name that DNS cannot hold.
        httpx2.URL(value)
    except (ValueError, httpx2.InvalidURL):
        return False
    is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port
    # A key in the address would stand in logs.
    return is_address and "@" not in parts.netloc and not parts.query and not parts.fragment


def _is_variable(value: object) -> bool:
    return isinstance(value, str) and _VARIABLE.fullmatch(value) is not None


def _are_further_fields(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_scalar, value.values())) and _OF_AN_ORDER.isdisjoint(value)


def _is_scalar(value: object) -> bool:
    # JSON knows neither infinity nor nan, and TOML knows both.
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _are_omittable(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each in OMITTABLE for each in value)


OPTIONS: Final = {
    # The address before `/images/generations`, such as "http://10.0.0.5:30000/v1".
    "base_url": Option("", _is_base_url),
    # The model's name at the server. Without it, it is that of the weights.
    "model": Option("", is_text),
    # The name of the variable that has the server's key. The variable may also name a file, as NAME_FILE.
    "api_key": Option("", _is_variable),
    # The time for one picture, with the time in which the server asks to wait.
    "timeout_seconds": Option(120, is_number(minimum=1, maximum=MAX_TIMEOUT_SECONDS)),
    # Fields that are sent with every request beside the usual, such as {num_inference_steps = 9}.
    "fields": Option({}, _are_further_fields),
    OMITTED_FIELDS: Option([], _are_omittable),
}


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A server, and what a request to it has beside its order."""

    base_url: str
    key: str = field(repr=False)
    timeout_seconds: float
    max_requests: int
    fields: Mapping[str, str | int | float]
    omitted: frozenset[str]

    @property
    def host(self) -> str:
        """Return host and port of the server, for people."""
        return urlsplit(self.base_url).netloc


def read_remote(model: ImageModel) -> Remote:
    """Return the server of a model's entry. Raise Misconfigured."""
    options = read(model, OPTIONS, may_quote=False)
    if not options["base_url"]:
        raise Misconfigured(f"the model {model.name} needs the option base_url, such as http://host:30000/v1")
    omitted = frozenset(options[OMITTED_FIELDS])
    own = {
        "model": options["model"] or model.weights.partition("@")[0],
        "response_format": "b64_json",
        "output_format": "png",
    }
    return Remote(
        base_url=options["base_url"].rstrip("/"),
        key=_read_key(options["api_key"], model),
        timeout_seconds=options["timeout_seconds"],
        max_requests=model.batch_limit,
        fields={**_without(own, omitted), **options["fields"]},
        omitted=omitted,
    )


def _without(fields: Mapping[str, Any], omitted: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in omitted}


def _read_key(variable: str, model: ImageModel) -> str:
    if not variable:
        return ""
    try:
        key = FileAwareEnv(strip_whitespace=True).str(variable, "")
    except (OSError, ValueError):
        raise Misconfigured(f"{variable}_FILE does not name a text file that can be read") from None
    if not key or not key.isascii() or not key.isprintable():
        raise Misconfigured(f"{variable}, the key of the model {model.name}'s server, is not set or no key")
    return key
