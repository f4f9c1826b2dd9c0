"""A real browser, Debian's Chromium. An error in the console or a request to another server fails the test."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests import processes
from workers.messaging.redis_client import connection as broker

# Root needs the first, and without the others Chromium calls servers of its maker.
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_HERE: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of a browser: it starts processes, and commits what a server must see."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.django_db(transaction=True))


# Not for the whole session, because Playwright keeps an event loop in this thread, which tests of asyncio need free.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Chromium once a module, or skip the tests where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium).")
    with pytest.MonkeyPatch.context() as patched, sync_playwright() as playwright:
        # Django refuses the database to a thread with an event loop. No coroutine of these tests uses it.
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path, objects_folder: Path) -> Iterator[str]:
    """Run a web process, and return its address."""
    with processes.running(folder=tmp_path, objects_folder=objects_folder) as stack:
        processes.wait_until(lambda: processes.answers(stack.url))
        yield stack.url


@pytest.fixture(autouse=True)
def no_rates() -> None:
    """Limits start anew for each test, whose browser has the same address."""
    broker().flushdb()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Return a new profile of the browser."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: str) -> Iterator[Page]:
    """Return a new page, which must have no error and ask no other server by the end of the test."""
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.extend(_fault_of(message)))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.extend(_foreign(request, site)))
    page.on("requestfailed", lambda request: faults.extend(_failure_of(request)))
    yield page
    assert faults == []


def _fault_of(message: ConsoleMessage) -> list[str]:
    return [f"{message.type}: {message.text}"] if message.type in {"error", "warning"} else []


def _failure_of(request: Request) -> list[str]:
    # A page that ends a stream, or that is left, aborts its own requests.
    return [] if request.failure == "net::ERR_ABORTED" else [f"failed: {request.url}"]


def _foreign(request: Request, site: str) -> list[str]:
    is_own = request.url.startswith((f"{site}/", "data:", "blob:"))
    return [] if is_own else [f"asks elsewhere: {request.url}"]
