"""The pages Usage and Billing in a browser: what a person sees and does, at three widths, in light and dark."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from billing import keys
from billing.membership_models import Role
from billing.models import Account
from tests import factories, processes
from tests.browser.accessibility import assert_fits_everybody
from tests.browser.members import sign_in_member
from tests.workers.usage.histories import History, roll_up_when_quiet
from workers.models import Status

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
MARCH = "first=2026-03-01&last=2026-03-31"


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def console(account: Account, page: Page, context: BrowserContext, site: str) -> str:
    """Sign an owner in, and return the address of the account's pages."""
    sign_in_member(context, account, Role.OWNER, site=site)
    return f"{site}/console/{account.pk}"


def make_usage(account: Account) -> None:
    """Make three pictures of a key, one without, and a failure, and close their hours."""
    key, _ = keys.issue(account_id=account.pk, name="Shop")
    history = History(account, opened_at=NINE)
    for day, key_id in ((0, key.pk), (0, key.pk), (1, key.pk), (4, None)):
        history.end(NINE + timedelta(days=day), api_key_id=key_id)
    history.end(NINE + timedelta(days=5), status=Status.FAILED)
    history.write_times()
    while roll_up_when_quiet(now=NINE + timedelta(days=31)):
        pass


def test_usage_draws_its_table_as_a_chart_and_exports_it(page: Page, console: str, account: Account) -> None:
    make_usage(account)
    page.goto(f"{console}/usage?{MARCH}")
    assert page.get_by_text("These numbers are final.").is_visible()
    rows = page.get_by_role("row").filter(has_text="2026-03-")
    assert [row.split("\t")[:3] for row in rows.all_inner_texts()] == [
        ["2026-03-07", "0", "0.0000 USD"],
        ["2026-03-06", "1", "0.0267 USD"],
        ["2026-03-03", "1", "0.0267 USD"],
        ["2026-03-02", "2", "0.0534 USD"],
    ]
    assert page.locator("#chart canvas").count() == 1
    # The second of 31 bars has two images.
    box = page.locator("#chart .u-over").bounding_box()
    page.locator("#chart .u-over").hover(position={"x": 1.5 * box["width"] / 31, "y": 50})
    assert page.locator("#chart .u-value").all_inner_texts() == ["2026-03-02", "2"]
    with page.expect_download() as found:
        page.get_by_role("link", name="Export CSV").click()
    assert found.value.suggested_filename == "usage.csv"
    assert len(found.value.path().read_text().splitlines()) == 5
    assert_fits_everybody(page)
    page.wait_for_function("document.querySelector('#chart canvas').clientWidth < 390")


def test_usage_by_key_stacks_one_colour_for_each_key(page: Page, console: str, account: Account) -> None:
    make_usage(account)
    page.goto(f"{console}/usage?{MARCH}")
    page.get_by_label("Group by").select_option("API key")
    page.get_by_label("Show", exact=True).select_option("Cost")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**group=key**")
    labels = page.locator("#chart .u-label").all_inner_texts()
    assert (labels[0], labels[1][:6], labels[2]) == ("Day", "Shop (", "No key")
    assert page.get_by_role("row", name="2026-03-02").inner_text().split("\t")[1:] == [
        "0.0534",
        "0.0000",
        "0.0534",
    ]
    assert_fits_everybody(page)


def test_a_redeemed_code_is_on_the_balance_of_this_account_alone(page: Page, console: str, site: str) -> None:
    page.goto(f"{console}/billing")
    page.get_by_label("Redemption code").fill("wrong")
    page.get_by_role("button", name="Redeem").click()
    assert page.get_by_label("Redemption code").input_value() == "wrong"
    assert page.get_by_text("This code is unknown").is_visible()
    assert_fits_everybody(page)
    page.get_by_label("Redemption code").fill(factories.redemption_code())
    page.get_by_role("button", name="Redeem").click()
    page.wait_for_url(f"{console}/billing#main")
    assert page.get_by_role("status").inner_text() == "25.0000 USD were added."
    assert page.locator(".figures .card").first.inner_text().split() == ["Available", "35.0000", "USD"]
    assert page.get_by_role("row").nth(1).get_by_text("+25.0000 USD").is_visible()
    other = factories.account(balance_micros=77_000_000)
    # Chromium would note the refusal of a page as an error.
    reply = page.request.get(f"{site}/console/{other.pk}/billing")
    assert reply.status == 404
    assert "77.0000" not in page.content() + reply.text()


def test_the_form_of_a_payment_leads_to_stripe(
    context: BrowserContext, account: Account, tmp_path: Path, objects_folder: Path
) -> None:
    with processes.running(
        folder=tmp_path,
        objects_folder=objects_folder,
        STRIPE_SECRET_KEY="sk_test_stub",
        STRIPE_WEBHOOK_SECRET="whsec_stub",
    ) as stack:
        processes.wait_until(lambda: processes.answers(stack.url))
        sign_in_member(context, account, Role.OWNER, site=stack.url)
        page = context.new_page()
        # The service itself cannot reach Stripe here, so its answer and Stripe's page are made up.
        there = {"Location": "https://checkout.stripe.com/c/pay/cs_test_1"}
        page.route("**/billing/top-up", lambda route: route.fulfill(status=302, headers=there))
        page.route(there["Location"], lambda route: route.fulfill(body="pay here"))
        page.goto(f"{stack.url}/console/{account.pk}/billing")
        assert_fits_everybody(page)
        page.get_by_label("Amount in USD").fill("25")
        page.get_by_role("button", name="Continue to payment").click()
        page.wait_for_url(there["Location"], timeout=5000)
