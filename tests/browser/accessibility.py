"""The findings of axe-core, which checks a page by the rules of WCAG."""

from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

_AXE: Final = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
_RUN: Final = """rules => axe.run({rules}).then(found => found.violations.map(
    violation => `${violation.id}: ${violation.help} (${violation.nodes.map(node => node.target.join(" ")).join(", ")})`
))"""


def find_violations(page: Page, *, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return one line for each rule that the page breaks, except the ignored rules. Skip the test without axe-core."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed in tests/clients.")
    # The page's policy forbids foreign scripts, and this one comes past it, by the browser's debugger.
    page.evaluate(_AXE.read_text())
    found: Any = page.evaluate(_RUN, {rule: {"enabled": False} for rule in ignored})
    return list(found)
