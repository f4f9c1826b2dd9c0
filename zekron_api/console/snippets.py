"""The programs of `examples/` that the playground fills with the values of its form."""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_FOLDER: Final = Path(__file__).resolve().parent.parent.parent / "examples"


class Snippet(NamedTuple):
    """A program, and where edits have one of their own, that one too. The script writes values in its language."""

    name: str
    title: str
    language: str
    file: str
    edit_file: str = ""


SNIPPETS: Final = (
    Snippet("curl", "curl", "sh", "request.sh"),
    Snippet("python", "Python", "py", "request.py"),
    Snippet("node", "Node", "mjs", "request.mjs"),
    Snippet("php", "PHP", "php", "request.php"),
    Snippet("openai", "OpenAI SDK", "openai", "openai_create.py", "openai_edit.py"),
)


@cache
def programs() -> dict[str, dict[str, str | None]]:
    """Return the texts of all programs by their name, read once."""
    return {
        each.name: {
            "language": each.language,
            "text": _read(each.file),
            "edit": _read(each.edit_file) if each.edit_file else None,
        }
        for each in SNIPPETS
    }


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
