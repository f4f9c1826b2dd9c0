"""The conversion between US dollars as people write them and whole micro-dollars, which the program stores."""

import re
from typing import Final

MICROS_PER_DOLLAR: Final = 1_000_000
# Amounts are shown with four decimal places, so the program stores nothing finer.
MIN_STEP_MICROS: Final = 100
# The limit of one movement is a billion dollars. A larger amount is a typing error, and a 64-bit column holds far more.
MAX_MICROS: Final = 10**15
_AMOUNT: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,4}))?")


def parse_usd(text: str) -> int:
    """Return the micros of an amount such as 10, 10.00 or 0.0267, without a sign and under a billion dollars.

    Raises ValueError.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an amount of US dollars. Allowed: up to four decimal places, such as 10 or 9.9733."
        )
    dollars, fraction = match.groups(default="")
    return int(dollars) * MICROS_PER_DOLLAR + int(fraction.ljust(4, "0")) * MIN_STEP_MICROS


def format_usd(micros: int) -> str:
    """Return the amount with exactly four decimal places, such as 9.9733.

    Raises ValueError for a finer amount.
    """
    if micros % MIN_STEP_MICROS:
        raise ValueError(f"{micros} micros have more than four decimal places.")
    sign, size = "-" if micros < 0 else "", abs(micros)
    return f"{sign}{size // MICROS_PER_DOLLAR}.{size % MICROS_PER_DOLLAR // MIN_STEP_MICROS:04}"


def check_amount(amount_micros: int) -> None:
    """Raise ValueError unless the amount is positive, within MAX_MICROS and exact in four decimal places."""
    if not 0 < amount_micros <= MAX_MICROS or amount_micros % MIN_STEP_MICROS:
        raise ValueError(
            f"An amount must be a positive multiple of 100 micros up to {MAX_MICROS}, not {amount_micros}."
        )
