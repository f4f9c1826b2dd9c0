"""The names of accounts, of which no two may look the same, because staff send money by them."""

import re
import unicodedata
from typing import Final

MAX_CHARACTERS: Final = 100
# Letters and symbols that are blank, which Unicode does not count as spaces.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def normalise(name: str) -> str:
    """Return the one spelling of the name that accounts have: composed, compatible (NFKC), with single spaces.

    Raises ValueError for a name that is empty, too long or a number, and for characters that cannot be seen or that
    change the order of others.
    """
    hidden = next((character for character in name if _is_hidden(character)), None)
    if hidden is not None:
        raise ValueError(f"name must not have the character U+{ord(hidden):04X}, which cannot be seen.")
    spelled = " ".join(unicodedata.normalize("NFKC", name).split())
    if not re.search(r"[^0-9\s]", spelled) or len(spelled) > MAX_CHARACTERS:
        raise ValueError(f"name must have 1 to {MAX_CHARACTERS} characters and must not be a number.")
    return spelled


def _is_hidden(character: str) -> bool:
    """Return whether it is a control, a format, a line separator, unassigned, a private one or a blank letter."""
    category = unicodedata.category(character)
    return category.startswith("C") or category in {"Zl", "Zp"} or character in _BLANK
