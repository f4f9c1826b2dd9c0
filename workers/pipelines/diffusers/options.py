"""The options of the engines that can be compiled."""

import re
from collections.abc import Mapping
from typing import Final

from workers.engine.options import Option, is_boolean


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
