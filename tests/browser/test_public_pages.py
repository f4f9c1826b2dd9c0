"""The pages that need no login, at three widths, in light and dark."""

import pytest
from playwright.sync_api import Page

from tests.browser.accessibility import find_violations

WIDTHS = (1280, 800, 390)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_accessible_and_as_wide_as_its_window(page: Page, site: str, path: str) -> None:
    page.goto(site + path)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert find_violations(page) == []


def test_the_start_page_leads_to_the_documentation(page: Page, site: str) -> None:
    page.goto(site)
    page.get_by_role("link", name="Documentation", exact=True).click()
    page.wait_for_url("**/docs")
    assert page.get_by_role("heading", level=1).count() == 1
