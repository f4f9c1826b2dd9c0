"""A module for MODERATION: it refuses prompts with certain words. Copy it, and ask a classifier of your choice.

MODERATION=examples.moderation make run
"""

import re
from collections.abc import Sequence

WORDS = {"violence": {"gore", "beheading"}, "sexual": {"porn", "nude"}}


def check_request(*, prompt: str, images: Sequence[bytes]) -> str | None:
    """Return the category of the first word that is not wanted. `images` are the source images as PNG files."""
    words = set(re.findall(r"\w+", prompt.lower()))
    return next((category for category, unwanted in WORDS.items() if words & unwanted), None)


# A function `check_picture(*, picture)` gets each finished picture as a numpy array of shape (height, width, 3).
