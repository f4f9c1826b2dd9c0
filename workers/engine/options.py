"""The options of a model's entry, validated for its adapter."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from workers.catalogue import ImageModel
from workers.engine.interface import Misconfigured

log = logging.getLogger(__name__)


class Option(NamedTuple):
    """The default of an option, and the check that its value must pass."""

    default: Any
    is_valid: Callable[[object], bool]


def read(model: ImageModel, known: Mapping[str, Option], *, may_quote: bool = True) -> dict[str, Any]:
    """Return every known option by its name. Raise Misconfigured for an unknown or invalid one.

    Without `may_quote` the error says the name alone, because the value may be a key in the wrong place.
    """
    for name, value in model.options.items():
        if name not in known or not known[name].is_valid(value):
            told = f"{name} = {value!r}" if may_quote else name
            raise Misconfigured(f"the model {model.name} has an unknown or invalid option: {told}")
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
