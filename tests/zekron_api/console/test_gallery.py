"""The gallery: the account's generations by filters, and what members may do with each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing import keys
from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.zekron_api.console.people import member, signed_in
from workers.lifecycle import generations
from workers.models import Generation, Kind, Status
from zekron_api.console import gallery

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


def completed(owner: Account, **changes: Any) -> Generation:
    """Return a generation that was made now."""
    running = factories.claim(generation_id=factories.submit(owner, now=None, **changes).pk)
    generations.complete(generation=running, image=factories.sealed(), cost_micros=running.quote_micros)
    return Generation.objects.get(pk=running.pk)


def open_gallery(browser: Client, account: Account, query: str = "", **headers: str) -> str:
    response = browser.get(f"/console/{account.pk}/gallery{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def listed(text: str) -> list[int]:
    """Return the ids of the cards, in their order."""
    return [int(part.partition('"')[0]) for part in text.split('id="picture-')[1:]]


def post(browser: Client, account: Account, path: str, **headers: str) -> Any:
    page = browser.get(f"/console/{account.pk}/gallery").content.decode()
    token = page.partition('"X-CSRFToken": "')[2].partition('"')[0]
    return browser.post(f"/console/{account.pk}/gallery/{path}", headers={"X-CSRFToken": token, **headers})


def test_each_generation_is_shown_to_every_member_and_to_nobody_else(account: Account) -> None:
    mine = member(account, Role.MEMBER)
    rows = [factories.generation_in(status, account) for status in Status]
    factories.generation_in(Status.COMPLETED, factories.account())
    for browser in (signed_in(mine), signed_in(member(account, Role.VIEWER))):
        assert listed(open_gallery(browser, account)) == [row.pk for row in reversed(rows)]
    stranger = signed_in(member(factories.account()))
    for path in ("", f"/{rows[0].pk}", f"/{rows[0].pk}/card", f"/{rows[0].pk}/delete"):
        assert stranger.get(f"/console/{account.pk}/gallery{path}").status_code == 404


def test_a_foreign_generation_is_in_no_gallery(account: Account) -> None:
    foreign = completed(factories.account())
    browser = signed_in(member(account))
    for path in ("", "/card", "/delete"):
        assert browser.get(f"/console/{account.pk}/gallery/{foreign.pk}{path}").status_code == 404


def test_the_filters_choose(account: Account) -> None:
    ada = member(account)
    key, _ = keys.issue(account_id=account.pk)
    by_ada = completed(account, person_id=ada.pk)
    by_key = completed(account, api_key_id=key.pk, kind=Kind.EDIT)
    failed = factories.generation_in(Status.FAILED, account)
    Generation.objects.filter(pk=failed.pk).update(created_at=datetime(2026, 1, 2, tzinfo=UTC))
    browser = signed_in(ada)
    for query, expected in {
        "?by=me": [by_ada],
        f"?by={key.pk}": [by_key],
        "?type=edit": [by_key],
        "?status=failed": [failed],
        "?since=2026-01-01&until=2026-01-02": [failed],
        "?until=2026-01-01": [],
        "?since=0001-01-01&until=9999-12-31": [by_key, by_ada, failed],
        "?model=zekron-image-1": [failed, by_key, by_ada],
    }.items():
        assert listed(open_gallery(browser, account, query)) == [row.pk for row in expected], query


def test_a_filter_that_means_nothing_is_told_beside_its_field(account: Account) -> None:
    browser = signed_in(member(account))
    other, _ = keys.issue(account_id=factories.account().pk)
    for query in ("?since=yesterday", "?since=2026-01-02&until=2026-01-01", f"?by={other.pk}", "?status=x"):
        assert "errorlist" in open_gallery(browser, account, query), query
    assert 'value="yesterday"' in open_gallery(browser, account, "?since=yesterday")


def test_the_next_page_is_a_link_that_a_script_gets_alone(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGE_SIZE", 2)
    rows = [factories.submit(account) for _ in range(3)]
    browser = signed_in(member(account))
    first = open_gallery(browser, account, "?status=queued")
    assert listed(first) == [rows[2].pk, rows[1].pk]
    assert f'href="/console/{account.pk}/gallery?status=queued&amp;before={rows[1].pk}"' in first
    part = open_gallery(browser, account, f"?status=queued&before={rows[1].pk}", **{"HX-Request": "true"})
    assert listed(part) == [rows[0].pk]
    assert "<html" not in part
    assert "before=" not in part


def test_a_page_asks_the_database_as_often_for_many_as_for_few(account: Account) -> None:
    ada = member(account)
    browser = signed_in(ada)
    counts = []
    for _ in range(3):
        completed(account, person_id=ada.pk)
        with CaptureQueriesContext(connection) as captured:
            open_gallery(browser, account)
        counts.append(len(captured))
    # The first one notes in the session which account was opened.
    assert counts[0] >= counts[1] == counts[2]


def test_an_ended_generation_is_deleted_by_members_and_not_by_viewers(account: Account) -> None:
    made = completed(account)
    refused = post(signed_in(member(account, Role.VIEWER)), account, f"{made.pk}/delete")
    assert refused.status_code == 403
    browser = signed_in(member(account, Role.MEMBER))
    assert browser.get(f"/console/{account.pk}/gallery/{made.pk}/delete").status_code == 200
    deleted = post(browser, account, f"{made.pk}/delete", **{"HX-Request": "true"})
    assert b"The prompt was deleted." in deleted.content
    assert b"/thumbnail" not in deleted.content
    made.refresh_from_db()
    assert made.prompt == ""


def test_an_open_generation_is_cancelled_and_not_deleted(account: Account) -> None:
    queued = factories.submit(account)
    browser = signed_in(member(account, Role.MEMBER))
    post(browser, account, f"{queued.pk}/delete")
    assert Generation.objects.get().prompt != ""
    card = post(browser, account, f"{queued.pk}/cancel", **{"HX-Request": "true"})
    assert b"was cancelled. Nothing was charged." in card.content
    assert post(browser, account, f"{queued.pk}/cancel").status_code == 302
    viewer = signed_in(member(account, Role.VIEWER))
    assert post(viewer, account, f"{queued.pk}/cancel").status_code == 403


def test_a_detail_page_has_all_that_was_asked_for_and_the_reason_of_a_failure(account: Account) -> None:
    wanted = {"width": 512, "height": 768, "seed": 77, "metadata": {"order": "A<7>"}}
    made = completed(account, parameters=[wanted])
    failed = factories.generation_in(Status.FAILED, account)
    browser = signed_in(member(account))
    text = browser.get(f"/console/{account.pk}/gallery/{made.pk}").content.decode()
    for part in ("512\u00d7768", "77", "A&lt;7&gt;", "0.0267 USD", f"?from={made.pk}", f"?source={made.pk}"):
        assert part in text
    text = browser.get(f"/console/{account.pk}/gallery/{failed.pk}").content.decode()
    assert "Nothing was charged" in text
    assert factories.ERROR["error_code"] in text


def test_the_time_until_a_picture_is_deleted_is_told_without_a_script(account: Account) -> None:
    made = completed(account)
    Generation.objects.filter(pk=made.pk).update(
        expires_at=datetime.now(UTC) + timedelta(minutes=40, seconds=30)
    )
    browser = signed_in(member(account))
    assert "Expires in 40 min" in open_gallery(browser, account)
    factories.expire_image(made.pk)
    text = open_gallery(browser, account)
    assert "Expires in" not in text
    assert "/thumbnail" not in text


def test_pictures_of_this_server_alone_are_shown(account: Account) -> None:
    browser = signed_in(member(account))
    for name in ("gallery", "playground"):
        policy = browser.get(f"/console/{account.pk}/{name}")["Content-Security-Policy"]
        assert "img-src 'self' blob: data:" in policy
        assert "unsafe" not in policy


def test_programs_that_look_for_broken_links_find_the_pages(account: Account) -> None:
    browser = signed_in(member(account))
    kept = completed(account)
    for path in ("", f"/{kept.pk}", f"/{kept.pk}/card", f"/{kept.pk}/delete"):
        assert browser.head(f"/console/{account.pk}/gallery{path}").status_code == 200
    assert Generation.objects.get().prompt == kept.prompt
