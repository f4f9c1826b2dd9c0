"""The showcase: visitors make the pictures that the operator pays for, see no others, and are bounded."""

from typing import Any

import pytest
from django.test import Client

from billing.models import Account
from tests import factories, processes
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.models import Generation, IdempotencyKey, Status
from zekron_api.home.showcase import PROMPTS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def payer(settings: Any) -> Account:
    """Return the account that pays."""
    account = factories.account()
    settings.SHOWCASE_ACCOUNT = account.name
    return account


@pytest.fixture
def visitor() -> Client:
    """Return a browser without a key and without a session, which checks CSRF tokens."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


def make(visitor: Client, prompt: object = 0) -> Any:
    return visitor.post("/showcase/pictures", {"prompt": prompt}, content_type="application/json")


def test_a_visitor_makes_a_picture_that_the_account_pays_for(
    payer: Account, visitor: Client, engine: Any
) -> None:
    reply = make(visitor, 1)
    assert reply.status_code == 202
    made = Generation.objects.get(pk=reply.json()["data"]["id"])
    assert (made.account_id, made.prompt, made.api_key_id, made.person_id) == (
        payer.pk,
        PROMPTS[1],
        None,
        None,
    )
    processes.wait_until(lambda: Generation.objects.get(pk=made.pk).status == Status.COMPLETED)
    picture = visitor.get(f"/showcase/pictures/{made.pk}/image")
    assert (picture.status_code, picture["Content-Type"]) == (200, "image/png")
    payer.refresh_from_db()
    assert payer.balance_micros == 10_000_000 - Generation.objects.get(pk=made.pk).cost_micros


def test_without_an_account_there_is_nothing(visitor: Client, settings: Any) -> None:
    assert refusal(make(visitor)) == (404, "not_found")
    settings.SHOWCASE_ACCOUNT = "gone"
    assert refusal(make(visitor)) == (404, "not_found")


def test_no_other_picture_of_the_account_is_shown(payer: Account, visitor: Client) -> None:
    own = factories.generation_in(Status.COMPLETED, payer)
    for part in ("image", "events"):
        assert visitor.get(f"/showcase/pictures/{own.pk}/{part}").status_code == 404


def test_a_picture_that_is_not_made_yet_is_not_found(
    payer: Account, visitor: Client, idle_worker: None
) -> None:
    made = make(visitor).json()["data"]["id"]
    assert visitor.get(f"/showcase/pictures/{made}/image").status_code == 404
    events = visitor.get(f"/showcase/pictures/{made}/events")
    assert b'"status":"queued"' in events.content


@pytest.mark.parametrize("prompt", ["a castle of my own", len(PROMPTS), -1, 0.5, [0]])
def test_a_prompt_of_ones_own_is_refused(payer: Account, visitor: Client, prompt: object) -> None:
    assert refusal(make(visitor, prompt)) == (400, "invalid_parameter")


@pytest.mark.parametrize("limit", ["SHOWCASE_PICTURES_PER_HOUR_OF_ADDRESS", "SHOWCASE_PICTURES_PER_HOUR"])
def test_the_pictures_of_an_address_and_of_all_are_bounded(
    payer: Account, visitor: Client, idle_worker: None, settings: Any, limit: str
) -> None:
    setattr(settings, limit, 1)
    assert make(visitor).status_code == 202
    refused = make(visitor)
    assert refusal(refused) == (429, "rate_limit_exceeded")
    assert "minutes" in refused.json()["error"]["message"]
    assert Generation.objects.count() == 1


def test_a_visitor_takes_no_key_of_the_programs(payer: Account, visitor: Client, idle_worker: None) -> None:
    headers = {"Idempotency-Key": "order 1"}
    for _ in range(2):
        reply = visitor.post(
            "/showcase/pictures", {"prompt": 0}, content_type="application/json", headers=headers
        )
        assert reply.status_code == 202
    assert Generation.objects.count() == 2
    assert not IdempotencyKey.objects.exists()


def test_an_empty_account_makes_none(visitor: Client, settings: Any, idle_worker: None) -> None:
    settings.SHOWCASE_ACCOUNT = factories.account(balance_micros=0).name
    assert refusal(make(visitor)) == (402, "insufficient_balance")


def test_a_page_of_another_site_cannot_ask_for_one(payer: Account, visitor: Client) -> None:
    # What a form can send without being asked about, a script of the page sends as JSON.
    reply = visitor.post("/showcase/pictures", {"prompt": "0"})
    assert refusal(reply) == (415, "unsupported_media_type")
    asked = visitor.options("/showcase/pictures", headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in asked


def test_a_key_opens_nothing_more(payer: Account, me: Caller) -> None:
    own = factories.generation_in(Status.COMPLETED, me.account)
    assert me.get(f"/showcase/pictures/{own.pk}/image").status_code == 404
