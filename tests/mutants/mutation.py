"""Definition of a mutation: a piece of text, what stands in its place, and the tests that must notice."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One mutation; `text` occurs in the file at `path` exactly once, so that no guard can be moved and forgotten.

    `tests` are files or, where a file takes long, tests by their name after `::`.
    """

    name: str
    path: str
    text: str
    without: str
    tests: tuple[str, ...]
