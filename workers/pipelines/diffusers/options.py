"""Reads the options of a model's entry for its adapter: each has a name that is known, and a value that fits."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from workers.catalogue import ImageModel
from workers.engine.interface import EngineError


class Option(NamedTuple):
    """What holds where the entry says nothing, and whether a value can be used."""

    default: Any
    is_valid: Callable[[object], bool]


def read(model: ImageModel, known: Mapping[str, Option]) -> dict[str, Any]:
    """Every known option by its name. Raises EngineError for one that is unknown or unfit."""
    for name, value in model.options.items():
        if name not in known or not known[name].is_valid(value):
            raise EngineError(
                f"the model {model.name} has an option that is unknown or unfit: {name} = {value!r}"
            )
    return {name: model.options.get(name, option.default) for name, option in known.items()}


def is_number(*, minimum: float, maximum: float) -> Callable[[object], bool]:
    """Fits a number from `minimum` to `maximum`."""
    # True is an int to Python, and no number of anything.
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and minimum <= value <= maximum
    )


def is_whole_number(*, minimum: int, maximum: int) -> Callable[[object], bool]:
    """Fits a whole number from `minimum` to `maximum`."""
    return lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
    )


def is_text(value: object) -> bool:
    """Fits any text."""
    return isinstance(value, str)


def are_sizes(value: object) -> bool:
    """Fits a list such as ["1024x1024", "512x512"]."""
    return isinstance(value, list) and all(
        isinstance(size, str) and re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", size) for size in value
    )


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of such a size."""
    width, height = size.split("x")
    return int(width), int(height)
