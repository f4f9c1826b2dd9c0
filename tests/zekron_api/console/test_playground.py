"""The page of the playground before its script runs: the form, and what it begins with."""

import json
from typing import Any

import pytest

from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.zekron_api.console.people import member, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


def page_of(text: str) -> dict[str, Any]:
    """Return what the page tells its script."""
    _, _, rest = text.partition('<script id="playground-page" type="application/json">')
    told: dict[str, Any] = json.loads(rest.partition("</script>")[0])
    return told


def test_a_member_gets_a_button_and_a_viewer_a_reason(account: Account) -> None:
    for role, has_button in ((Role.MEMBER, True), (Role.VIEWER, False)):
        text = signed_in(member(account, role)).get(f"/console/{account.pk}/playground").content.decode()
        assert ('type="submit" class="button primary"' in text) is has_button
        assert ("Ask an owner" in text) is not has_button
        assert page_of(text)["mayGenerate"] is has_button


def test_a_generation_is_made_again_from_what_it_asked_for(account: Account) -> None:
    wanted = {"width": 640, "height": 512, "seed": 77, "output_format": "webp", "output_compression": 60}
    row = factories.submit(account, prompt="a <red> boat", parameters=[wanted])
    text = signed_in(member(account)).get(f"/console/{account.pk}/playground?from={row.pk}").content.decode()
    for part in ("a &lt;red&gt; boat", 'value="77"', 'value="640"', 'value="60"'):
        assert part in text
    assert '<option value="custom" selected>' in text
    assert '<option value="webp" selected>' in text


def test_a_foreign_generation_fills_nothing(account: Account) -> None:
    foreign = factories.submit(factories.account(), prompt="their secret")
    browser = signed_in(member(account))
    for query in (f"?from={foreign.pk}", f"?source={foreign.pk}", "?from=x"):
        text = browser.get(f"/console/{account.pk}/playground{query}").content.decode()
        assert "their secret" not in text
        assert page_of(text)["source"] is None


def test_the_page_says_that_it_needs_a_script(account: Account) -> None:
    text = signed_in(member(account)).get(f"/console/{account.pk}/playground").content.decode()
    assert "The playground needs JavaScript" in text.partition("<noscript>")[2].partition("</noscript>")[0]
