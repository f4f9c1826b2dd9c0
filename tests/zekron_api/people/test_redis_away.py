"""People sign in and open every page of the console while Redis is away."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from billing import memberships
from billing.membership_models import Role
from tests import factories
from tests.zekron_api.people.pages import log_in
from workers.models import Status
from zekron_api.console.pages import NAVIGATION

pytestmark = pytest.mark.django_db(transaction=True)


def test_people_sign_in_and_open_every_page(bob: User, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    account, browser = factories.account(), Client()
    memberships.add(user_id=bob.pk, account_id=account.pk, role=Role.OWNER)
    for status in Status:
        factories.generation_in(status, account)
    login = log_in("bob", browser=browser)
    assert (login.status_code, login["Location"]) == (302, "/console/")
    for page in NAVIGATION:
        assert browser.get(f"/console/{account.pk}/{page.name}").status_code == 200, page.name
