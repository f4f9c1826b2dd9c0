"""Rules of the project's language that a program can check: how docstrings open, and how long sentences are chained."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.processes import ROOT

PACKAGES: Final = ("zekron_api", "workers", "billing", "storage", "demo_model", "bench", "examples", "tests")
DOCUMENTS: Final = (
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("demo_model/README.md", "deploy/README.md", "examples/README.md"),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
)
# A docstring that opens with one of these has no verb and no noun at its head.
HEADLESS: Final = re.compile(
    r"(What|Whatever|Who|Whoever|Whether|Of|So|That|Those|Which|How|The same|Around|Both)\b"
)
MAX_SEMICOLONS_PER_100_SENTENCES: Final = 8
_CODE: Final = re.compile(r"^(```|~~~).*?^\1|^(?: {4}|\t).*?$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_SENTENCE_END: Final = re.compile(r"[.!?](?=[\s)\"*]|$)|\n\s*(?:\n|[-*|] )")


def headless_docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the first line of each docstring that opens headless."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and HEADLESS.match(docstring):
                yield node.body[0].lineno, docstring.splitlines()[0]


def semicolons_per_100_sentences(markdown: str) -> float:
    """Count the semicolons of a document's prose; code does not count."""
    prose = _CODE.sub(" ", markdown)
    sentences = [part for part in _SENTENCE_END.split(prose) if re.search(r"\w", part)]
    return 100 * prose.count(";") / max(len(sentences), 1)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_opens_headless(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in headless_docstrings(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_chains_few_sentences_with_semicolons(document: str) -> None:
    rate = semicolons_per_100_sentences((ROOT / document).read_text())
    assert rate <= MAX_SEMICOLONS_PER_100_SENTENCES


def test_a_headless_opener_is_found_and_a_word_that_begins_like_one_is_not() -> None:
    source = '"""Offer a boat."""\ndef f():\n    """What is offered.\n\n    Later."""\ndef g():\n    """Sort it."""\n'
    assert list(headless_docstrings(source)) == [(3, "What is offered.")]


def test_semicolons_in_code_do_not_count() -> None:
    text = "One; two. Three.\n\n```\na; b; c\n```\n\n    d; e\n\nA `f;` four.\n"
    assert semicolons_per_100_sentences(text) == pytest.approx(100 / 3)
