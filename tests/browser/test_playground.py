"""The playground and the gallery in a real browser, with a web process and a worker whose steps the test decides."""

import base64
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from django.db import connections
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from billing.membership_models import Role
from billing.models import Account
from tests import factories, images, processes
from tests.browser.accessibility import assert_fits_everybody
from tests.browser.members import sign_in_member
from workers.engine.interface import ImageOrder, StepCallback
from workers.lifecycle import generations
from workers.messaging import progress_events
from workers.messaging.progress_events import Step
from workers.models import Generation, Kind, Status
from zekron_api.console import gallery

MAX_MS: Final = 30_000
# Drops a file on the place for source images as with the mouse, or pastes it into the page as with the keyboard.
_GIVE: Final = """([way, content, name]) => {
    const bytes = Uint8Array.from(atob(content), character => character.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, {type: "image/png"}));
    const options = {dataTransfer, clipboardData: dataTransfer, bubbles: true, cancelable: true};
    const event = way === "drop" ? new DragEvent(way, options) : new ClipboardEvent(way, options);
    (way === "drop" ? document.getElementById("sources") : document.activeElement).dispatchEvent(event);
}"""


class GatedEngine(factories.StandInEngine):
    """An engine that stays at the second of five steps until its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """Tell the second step as a worker's own thread does, wait at the gate, and paint."""
        running = Generation.objects.filter(status=Status.RUNNING).values_list("pk", flat=True)
        progress_events.publish(steps={generation_id: Step(2, 5) for generation_id in running})
        connections.close_all()
        assert self.gate.wait(processes.MAX_START_SECONDS)
        return super().generate(orders, on_step=on_step)


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def engine() -> GatedEngine:
    return GatedEngine()


@pytest.fixture
def site(tmp_path: Path, objects_folder: Path, engine: GatedEngine) -> Iterator[str]:
    """Run a web process and a worker with this engine, and return the address."""
    with (
        processes.running(folder=tmp_path, objects_folder=objects_folder) as stack,
        processes.worker(engine),
    ):
        processes.wait_until(lambda: processes.answers(stack.url))
        yield stack.url
        engine.gate.set()


def give(page: Page, way: str, width: int, height: int) -> None:
    """Drop or paste a picture of this size."""
    content = images.saved(images.halves(width, height))
    page.evaluate(_GIVE, [way, base64.b64encode(content).decode(), "wide.png"])


def scroll_to(count: int, page: Page) -> bool:
    """Scroll on, and return whether so many pictures are there."""
    page.mouse.wheel(0, 3000)
    return page.locator(".picture").count() == count


def test_a_picture_is_made_and_edited_and_deleted(
    page: Page, context: BrowserContext, chromium: Browser, site: str, account: Account, engine: GatedEngine
) -> None:
    ada = sign_in_member(context, account, site=site)
    page.goto(f"{site}/console/{account.pk}/playground")
    expect(page.get_by_text("0.0267 USD")).to_be_visible(timeout=MAX_MS)
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_text("Write a prompt first.")).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill('A "red" boat')
    page.keyboard.press("Control+Enter")
    frames = page.get_by_role("article")
    expect(frames.first).to_contain_text("Step 2 of 5", timeout=MAX_MS)
    # A reload finds the work that goes on.
    page.reload()
    expect(frames.first).to_contain_text("Step 2 of 5", timeout=MAX_MS)
    engine.gate.set()
    expect(frames.first.get_by_role("link", name="Download")).to_be_visible(timeout=MAX_MS)
    assert frames.first.locator("img").evaluate("each => each.decode().then(() => each.naturalWidth)") == 1024
    expect(page.get_by_role("status").first).to_have_text("Finished. It cost 0.0267 dollars.")
    expect(page.get_by_text("9.9733 USD available")).to_be_visible(timeout=MAX_MS)

    give(page, "drop", 900, 300)
    expect(page.get_by_role("group", name="Images to edit")).to_contain_text("wide.png, 900\u00d7300")
    frames.first.get_by_role("button", name="Use as source").click()
    expect(page.get_by_role("group", name="Images to edit").get_by_role("listitem")).to_have_count(2)
    page.get_by_role("button", name=re.compile("Move up")).last.click()
    page.get_by_role("button", name="Remove: wide.png").click()
    page.get_by_role("button", name=re.compile("^Remove")).click()
    give(page, "paste", 900, 300)
    page.get_by_label("Prompt", exact=True).fill("Make it winter")
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_role("tabpanel")).to_contain_text('sources = ["wide.png"]')
    page.get_by_role("button", name="Make").click()
    expect(frames).to_have_count(2)
    expect(frames.first.get_by_role("link", name="Download")).to_be_visible(timeout=MAX_MS)
    assert_fits_everybody(page)
    edit, first = Generation.objects.order_by("-pk")
    assert (edit.kind, edit.size, edit.source_sizes) == (Kind.EDIT, "1776x592", [(900, 300)])
    assert {edit.person_id, first.person_id} == {ada.pk}

    page.goto(f"{site}/console/{account.pk}/gallery")
    expect(page.locator(".picture img")).to_have_count(2)
    assert_fits_everybody(page)
    picture = f"{site}/console/{account.pk}/api/generations/{first.pk}/picture"
    assert context.request.get(picture).status == 200
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name=f"Delete picture {first.pk}").click()
    expect(page.locator(f"#picture-{first.pk}")).to_contain_text("The prompt was deleted.", timeout=MAX_MS)
    assert context.request.get(picture).status == 410

    stranger = chromium.new_context()
    sign_in_member(stranger, factories.account(), site=site)
    for path in ("gallery", f"gallery/{edit.pk}", f"api/generations/{edit.pk}/picture"):
        assert stranger.request.get(f"{site}/console/{account.pk}/{path}").status == 404
    stranger.close()


def test_a_picture_is_cancelled_and_a_viewer_scrolls_through_a_long_gallery(
    page: Page, context: BrowserContext, site: str, account: Account, engine: GatedEngine
) -> None:
    # The console of a browser tells every refusal as an error, so this page is not watched.
    cancel_queued(context.new_page(), context, site, account, engine)
    scroll_through(page, context, site, account)
    lose_the_replies(context.new_page(), context, site)


def lose_the_replies(page: Page, context: BrowserContext, site: str) -> None:
    """Lose every reply to an order, and press again."""
    account = factories.account()
    sign_in_member(context, account, site=site)
    page.goto(f"{site}/console/{account.pk}/playground")
    page.get_by_label("Prompt", exact=True).fill("A boat")
    page.route("**/api/generate", lambda route: (route.fetch(), route.abort()))
    page.get_by_role("button", name="Make").click()
    expect(page.locator("#notice")).to_contain_text("cannot be reached", timeout=MAX_MS)
    page.unroute("**/api/generate")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("article")).to_have_count(1, timeout=MAX_MS)
    assert Generation.objects.filter(account=account).count() == 1


def cancel_queued(
    page: Page, context: BrowserContext, site: str, account: Account, engine: GatedEngine
) -> None:
    """Make three pictures after a mistake, and cancel two of them while they are queued."""
    sign_in_member(context, account, site=site)
    page.goto(f"{site}/console/{account.pk}/playground")
    page.get_by_label("Size", exact=True).select_option("custom")
    page.get_by_label("Width in pixels").fill("513")
    expect(page.locator("#error-size")).to_contain_text("size must be", timeout=MAX_MS)
    page.get_by_label("Width in pixels").fill("512")
    page.get_by_label("Height in pixels").fill("512")
    expect(page.locator("#error-size")).to_be_empty(timeout=MAX_MS)
    page.get_by_label("Prompt", exact=True).fill("A boat")
    page.get_by_label("Pictures", exact=True).fill("3")
    # Whoever clicks twice wants one thing.
    page.get_by_role("button", name="Make").dblclick()
    frames = page.get_by_role("article")
    expect(frames.first).to_contain_text("Step 2 of 5", timeout=MAX_MS)
    expect(frames).to_have_count(3)
    frames.last.get_by_role("button", name="Cancel").click()
    expect(frames.last).to_contain_text("was cancelled. Nothing was charged.", timeout=MAX_MS)
    page.goto(f"{site}/console/{account.pk}/gallery")
    queued = page.locator(".picture", has_text="at most").filter(has_text="Queued").first
    queued.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("was cancelled. Nothing was charged.")).to_have_count(2, timeout=MAX_MS)
    engine.gate.set()
    # The card of the one that runs asks for itself until it is made.
    expect(page.locator(".picture img")).to_have_count(1, timeout=MAX_MS)
    assert Generation.objects.count() == 3


def scroll_through(page: Page, context: BrowserContext, site: str, account: Account) -> None:
    """Look at two hundred more of the account's generations as a viewer, who can change nothing."""
    content = images.saved(images.halves(256, 256))
    # The worker does not know this model, so it leaves the rows to the test.
    wanted = [{"width": 256, "height": 256, "seed": index} for index in range(200)]
    for index, queued in enumerate(
        factories.submit_all(account, now=None, model="former", parameters=wanted)
    ):
        if index % 10:
            generations.cancel(generation=queued, error_type="generation_cancelled", error_code="X")
        else:
            running = factories.claim(generation_id=queued.pk)
            generations.complete(generation=running, image=factories.sealed(content), cost_micros=26_700)
    count = Generation.objects.count()
    sign_in_member(context, account, Role.VIEWER, site=site)
    page.goto(f"{site}/console/{account.pk}/gallery")
    cards = page.locator(".picture")
    expect(cards).to_have_count(gallery.PAGE_SIZE, timeout=MAX_MS)
    processes.wait_until(lambda: scroll_to(count, page))
    expect(page.get_by_role("link", name="Older pictures")).to_have_count(0)
    assert page.get_by_role("link", name=re.compile("Delete|Use|Same again")).count() == 0
    expect(cards.last.locator("img")).to_be_visible()
    page.goto(f"{site}/console/{account.pk}/playground")
    expect(page.get_by_text("Ask an owner")).to_be_visible()
    assert page.get_by_role("button", name="Make").count() == 0
