"""The showcase of the start page: a visitor watches a picture being made."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import factories, processes
from tests.browser.accessibility import find_violations


@pytest.fixture
def site(tmp_path: Path, objects_folder: Path) -> Iterator[str]:
    """Run a web process with a showcase, and a worker."""
    payer = factories.account()
    with (
        processes.running(
            folder=tmp_path, objects_folder=objects_folder, SHOWCASE_ACCOUNT=payer.name
        ) as stack,
        processes.worker(),
    ):
        processes.wait_until(lambda: processes.answers(stack.url))
        yield stack.url


def test_a_visitor_watches_a_picture_being_made(page: Page, site: str) -> None:
    page.goto(site)
    page.locator("[data-prompt]").first.click()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^Made in .* USD\.$"), timeout=60_000)
    picture = page.locator(".picture img")
    assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") == 512
    assert find_violations(page) == []
    # The console of a browser tells every refusal as an error, so this page is not watched.
    refuse_once(page.context.new_page(), site)


def refuse_once(page: Page, site: str) -> None:
    """Refuse the first stream of a picture, as if too many visitors watched others."""
    page.route("**/events", lambda route: route.fulfill(status=429), times=1)
    page.goto(site)
    page.locator("[data-prompt]").first.click()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^Made in .* USD\.$"), timeout=60_000)
