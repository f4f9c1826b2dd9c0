"""The screenshots in `docs/screenshots`, which `make screenshots` takes of real processes."""

import io
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from django.contrib.auth.models import User
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from billing import alerts, invitations, keys, ledger, memberships
from billing.grants import Grants, Scope
from billing.membership_models import Role
from billing.models import Account
from tests import processes
from tests.browser.members import sign_in
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.models import Status

FOLDER: Final = processes.ROOT / "docs" / "screenshots"
WORKER: Final = (
    *("-m", "celery", "--skip-checks", "-A", "zekron_api", "worker"),
    *("-P", "threads", "-c", "4", "-Q", "gpu", "-n", "gpu@screenshots"),
)
DAYS: Final = 30
PROMPTS: Final = (
    "A red house by the sea at sunset",
    "Mountains in the snow at dawn",
    "A yellow boat on a lake under the moon",
    "A green tree on a hill in the rain",
    "A blue car in the desert at noon",
    "A white cat in a meadow in spring",
    "A tower on an island in the fog",
)
PROMPT: Final = "A red house in front of mountains at sunset"


@pytest.fixture
def account() -> Account:
    """Return an account with a month of work behind it, two keys, and three people."""
    account = ledger.open_account(name="Northwind Studio", opening_micros=60_000_000, actor="operator")
    limited = Grants(scopes=(Scope.GENERATE, Scope.READ), spend_limit_micros=20_000_000)
    issued = [
        keys.issue(account_id=account.pk, name="Web shop")[0],
        keys.issue(account_id=account.pk, name="Nightly catalogue", grants=limited)[0],
    ]
    _work_for_a_month(account, [key.pk for key in issued])
    for name, role in (("ben", Role.MEMBER), ("cleo", Role.VIEWER)):
        person = User.objects.create_user(name, email=f"{name}@northwind.example")
        memberships.add(user_id=person.pk, account_id=account.pk, role=role)
    invitations.create(
        account_id=account.pk, email="dan@northwind.example", role=Role.MEMBER, invited_by="ada"
    )
    alerts.put(account_id=account.pk, low_balance_micros=10_000_000, percents=[80, 100], email="")
    return account


@pytest.fixture
def site(tmp_path: Path, objects_folder: Path, account: Account) -> Iterator[str]:
    """Run a web process and a worker with the bundled model."""
    with processes.running(
        folder=tmp_path,
        objects_folder=objects_folder,
        others={"gpu": WORKER},
        SHOWCASE_ACCOUNT=account.name,
    ) as stack:
        processes.ready(stack.url)
        yield stack.url


def test_every_page_is_photographed(context: BrowserContext, page: Page, site: str, account: Account) -> None:
    _, key = keys.issue(account_id=account.pk, name="Photographer")
    server = processes.Server(site, key)
    for prompt in PROMPTS:
        assert server.ask("/v1/generate", {"prompt": prompt, "size": "512x512"}).status == 200
    page.goto(site)
    page.locator("[data-prompt]").first.click()
    expect(page.get_by_role("status")).to_contain_text("USD", timeout=60_000)
    _shoot(page, "start")
    page.goto(f"{site}/me/login/")
    _shoot(page, "sign-in")
    owner = User.objects.create_superuser("ada", email="ada@northwind.example")
    memberships.add(user_id=owner.pk, account_id=account.pk, role=Role.OWNER)
    sign_in(context, owner, site=site)
    console = f"{site}/console/{account.pk}"
    page.goto(f"{console}/playground")
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_role("button", name="Make", exact=True).click()
    expect(page.get_by_role("link", name="Download").first).to_be_visible(timeout=60_000)
    _shoot(page, "playground")
    for name in ("gallery", "usage", "billing", "keys", "webhooks", "people"):
        page.goto(f"{console}/{name}")
        page.wait_for_load_state("networkidle")
        _shoot(page, name)
    page.goto(f"{site}/admin/")
    _shoot(page, "administration")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{console}/gallery")
    page.wait_for_load_state("networkidle")
    _shoot(page, "gallery-dark")


def _work_for_a_month(account: Account, key_ids: list[int]) -> None:
    """Make the pictures of a month, more on weekdays, by the transitions of the lifecycle."""
    dice = random.Random(1)
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    history = History(account, opened_at=begin)
    for day in range(DAYS):
        today = begin + timedelta(days=day)
        for index in range(dice.randint(4, 14) if today.weekday() < 5 else dice.randint(0, 4)):
            status = Status.FAILED if dice.random() < 0.03 else Status.COMPLETED
            history.end(
                today + timedelta(minutes=95 * index + 5),
                status=status,
                wait_seconds=dice.uniform(0.05, 1.5),
                make_seconds=dice.uniform(0.4, 2.0),
                api_key_id=dice.choice([*key_ids, key_ids[0]]),
                # They have no pictures that a page could show, so all have expired.
                parameters={"expires_in": 3600},
            )
    history.write_times()
    while roll_up_when_quiet(now=datetime.now(UTC)):
        pass


def _shoot(page: Page, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").save(FOLDER / f"{name}.webp", quality=85, method=6)
