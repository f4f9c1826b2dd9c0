"""The pages that need no login, at three widths, in light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import processes
from tests.browser.accessibility import assert_fits_everybody


@pytest.fixture
def site(tmp_path: Path, objects_folder: Path) -> Iterator[str]:
    """Run a web process where strangers may sign up, whose start page has one more link."""
    with processes.running(folder=tmp_path, objects_folder=objects_folder, SIGNUP="open") as stack:
        processes.wait_until(lambda: processes.answers(stack.url))
        yield stack.url


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_accessible_and_as_wide_as_its_window(page: Page, site: str, path: str) -> None:
    page.goto(site + path)
    assert_fits_everybody(page)


def test_the_start_page_leads_to_the_documentation(page: Page, site: str) -> None:
    page.goto(site)
    page.get_by_role("link", name="Documentation", exact=True).click()
    page.wait_for_url("**/docs")
    assert page.get_by_role("heading", level=1).count() == 1
