"""The options of a model's entry, validated for its adapter."""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from workers.catalogue import ImageModel
from workers.engine.interface import Misconfigured

log = logging.getLogger(__name__)


class Option(NamedTuple):
    """The default of an option, and the check that its value must pass."""

    default: Any
    is_valid: Callable[[object], bool]


def read(model: ImageModel, known: Mapping[str, Option]) -> dict[str, Any]:
    """Return every known option by its name. Raise EngineError for an unknown or invalid one."""
    for name, value in model.options.items():
        if name not in known or not known[name].is_valid(value):
            raise Misconfigured(
                f"the model {model.name} has an unknown or invalid option: {name} = {value!r}"
            )
    return {name: model.options.get(name, option.default) for name, option in known.items()}


def warn_if_unused(model: ImageModel, name: str, *, is_used: bool, unless: str) -> None:
    """Log that an option which the model's entry names has no effect without what `unless` names."""
    if model.options.get(name) and not is_used:
        log.warning("%s has the option %s, which has no effect without %s", model.name, name, unless)


def is_number(*, minimum: float, maximum: float) -> Callable[[object], bool]:
    """Return a check for a number from `minimum` to `maximum`."""
    # In Python, True is an int.
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and minimum <= value <= maximum
    )


def is_whole_number(*, minimum: int, maximum: int) -> Callable[[object], bool]:
    """Return a check for a whole number from `minimum` to `maximum`."""
    return lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
    )


def is_text(value: object) -> bool:
    """Return True for any text."""
    return isinstance(value, str)


def is_boolean(value: object) -> bool:
    """Return True for true and false."""
    return isinstance(value, bool)


def is_one_of(allowed: Collection[str]) -> Callable[[object], bool]:
    """Return a check for one of these texts."""
    return lambda value: isinstance(value, str) and value in allowed


def are_sizes(value: object) -> bool:
    """Return True for a list of sizes such as ["1024x1024", "512x512"]."""
    return isinstance(value, list) and all(
        isinstance(size, str) and re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", size) for size in value
    )


def parse_size(size: str) -> tuple[int, int]:
    """Return width and height in pixels of a size such as "1024x768"."""
    width, height = size.split("x")
    return int(width), int(height)


# The options of every engine that can be compiled.
COMPILE_OPTIONS: Final[Mapping[str, Option]] = {
    # Sizes to compile for: the start then takes minutes, and each picture less time.
    "compile": Option([], are_sizes),
    # Whether a worker that cannot compile refuses to start, instead of being slower.
    "compile_required": Option(False, is_boolean),
}
