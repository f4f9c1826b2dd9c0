"""The names of accounts. Staff send money by them, so each has one spelling, and nothing in it is invisible.

Letters of different scripts may still look alike.
"""

import re
import unicodedata
from typing import Final

MAX_CHARACTERS: Final = 100
# Characters that show nothing and are neither spaces nor of a category that says so: Unicode's property
# Default_Ignorable_Code_Point outside of the categories C, and three symbols that are blank.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc\U0001d159"
    "\U000e0100-\U000e01ef]"
)


def normalise(name: str) -> str:
    """Return the one spelling of the name that accounts have: composed, compatible (NFKC), with single spaces.

    Raises ValueError for a name that is empty, too long or a number, and for characters that cannot be seen or that
    change the order of others.
    """
    hidden = next((character for character in name if _is_hidden(character)), None)
    if hidden is not None:
        raise ValueError(f"name must not have the character U+{ord(hidden):04X}, which cannot be seen.")
    spelled = " ".join(unicodedata.normalize("NFKC", name).split())
    if not _has_sign(spelled) or len(spelled) > MAX_CHARACTERS:
        raise ValueError(f"name must have 1 to {MAX_CHARACTERS} characters and must not be a number.")
    return spelled


def _is_hidden(character: str) -> bool:
    """Return whether it is a control, a format, a line separator, unassigned, a private one or shows nothing."""
    category = unicodedata.category(character)
    is_control = category.startswith("C") or category in {"Zl", "Zp"}
    return is_control or bool(_IGNORABLE.fullmatch(character))


def _has_sign(name: str) -> bool:
    """Return whether a character is neither a space, nor a digit, nor a mark on another one."""
    return any(
        character not in "0123456789" and unicodedata.category(character)[0] not in "ZM" for character in name
    )
