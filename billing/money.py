"""Amounts of US dollars as people write them, and as the program keeps them: whole micro-dollars."""

import re

MICROS_A_DOLLAR = 1_000_000
# Four decimal places are all that is ever shown, so nothing finer is kept.
MIN_STEP_MICROS = 100
_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,4}))?")


def parse_usd(text: str) -> int:
    """Micros of an amount such as 10, 10.00 or 0.0267: no sign, under a billion. Raises ValueError."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no amount of US dollars such as 10 or 9.9733.")
    dollars, fraction = match.groups(default="")
    return int(dollars) * MICROS_A_DOLLAR + int(fraction.ljust(4, "0")) * MIN_STEP_MICROS


def format_usd(micros: int) -> str:
    """The amount with always four decimal places, such as 9.9733. Raises ValueError for finer ones."""
    if micros % MIN_STEP_MICROS:
        raise ValueError(f"{micros} micros have no four decimal places.")
    sign, size = "-" if micros < 0 else "", abs(micros)
    return f"{sign}{size // MICROS_A_DOLLAR}.{size % MICROS_A_DOLLAR // MIN_STEP_MICROS:04}"
