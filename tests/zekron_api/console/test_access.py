"""The console opens to members alone, and each page to those whose role has its scopes."""

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from billing import memberships
from billing.grants import Scope
from billing.membership_models import Role
from billing.models import Account
from tests import factories
from tests.zekron_api.console.people import member, signed_in
from zekron_api.console.access import LAST_ACCOUNT, Access, member_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


@member_page(Scope.GENERATE)
def page(request: HttpRequest, access: Access) -> HttpResponse:
    return HttpResponse(f"{access.account.pk} {access.actor}")


def ask(user: User, account_id: int) -> HttpResponse:
    request = RequestFactory().get("/")
    request.user, request.session = user, {}  # type: ignore[assignment] # a session is more than a dict
    response = page(request, account_id=account_id)
    assert isinstance(response, HttpResponse)
    return response


def test_a_member_gets_the_page_and_no_cache_keeps_it(account: Account) -> None:
    user = member(account, Role.MEMBER)
    response = ask(user, account.pk)
    assert response.content.decode() == f"{account.pk} {user.get_username()}"
    assert response["Cache-Control"] == "private, no-store"


def test_a_role_without_the_scope_is_refused(account: Account) -> None:
    with pytest.raises(PermissionDenied):
        ask(member(account, Role.VIEWER), account.pk)


def test_strangers_do_not_learn_that_the_account_exists(account: Account) -> None:
    stranger = member(factories.account())
    for account_id in (account.pk, account.pk + 1_000_000):
        with pytest.raises(Http404):
            ask(stranger, account_id)


def test_whoever_is_taken_out_is_out_at_the_next_request(account: Account) -> None:
    member(account)
    user = member(account)
    ask(user, account.pk)
    place = memberships.find(user_id=user.pk, account_id=account.pk)
    memberships.remove(membership_id=place.pk, account_id=account.pk)
    with pytest.raises(Http404):
        ask(user, account.pk)


@pytest.mark.parametrize("path", ["/console/", "/console/1/"])
def test_whoever_is_signed_out_signs_in_first(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response["Location"].endswith(f"?next={path}")


def test_the_console_leads_to_the_account_that_was_opened_last(account: Account) -> None:
    user = member(account)
    other = factories.account()
    memberships.add(user_id=user.pk, account_id=other.pk, role=Role.OWNER)
    browser = signed_in(user)
    assert browser.get("/console/")["Location"] == f"/console/{account.pk}/"
    session = browser.session
    session[LAST_ACCOUNT] = other.pk
    session.save()
    assert browser.get("/console/")["Location"] == f"/console/{other.pk}/"


def test_a_person_without_an_account_is_told_how_to_get_one() -> None:
    response = signed_in(User.objects.create_user("ada")).get("/console/")
    assert response.status_code == 200
    assert b"invitation" in response.content


def test_an_error_is_a_page_for_browsers_and_the_envelope_for_programs(account: Account) -> None:
    browser = signed_in(member(account))
    shown = browser.get("/console/999999/")
    told = browser.get("/console/999999/", headers={"Accept": "*/*"})
    assert (shown.status_code, told.status_code) == (404, 404)
    assert shown["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in shown["Content-Security-Policy"]
    assert told.json()["error"]["type"] == "not_found"


def test_a_browser_outside_the_pages_for_people_gets_the_envelope(client: Client) -> None:
    response = client.get("/v1/balance", headers={"Accept": "text/html"})
    assert response["Content-Type"] == "application/json"
