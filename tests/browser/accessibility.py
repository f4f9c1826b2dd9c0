"""Checks of pages for everybody: three widths, light and dark, and the rules of WCAG by axe-core."""

from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Page

Scheme = Literal["light", "dark"]

# A laptop, a tablet and a phone.
WIDTHS: Final = (1280, 800, 390)
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
_AXE: Final = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
_RUN: Final = """rules => axe.run({rules}).then(found => found.violations.map(
    violation => `${violation.id}: ${violation.help} (${violation.nodes.map(node => node.target.join(" ")).join(", ")})`
))"""


def assert_fits_everybody(page: Page, *, schemes: tuple[Scheme, ...] = SCHEMES) -> None:
    """Assert that the page is never wider than its window, and breaks no rule in these colour schemes."""
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
        assert find_violations(page) == [], (page.url, scheme)


def find_violations(page: Page, *, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return one line for each rule that the page breaks, except the ignored rules. Skip the test without axe-core."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed in tests/clients.")
    # The page's policy forbids foreign scripts, and this one comes past it, by the browser's debugger.
    page.evaluate(_AXE.read_text())
    found: Any = page.evaluate(_RUN, {rule: {"enabled": False} for rule in ignored})
    return list(found)
