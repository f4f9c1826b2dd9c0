"""An account chooses what it is told, and the balance says what holds."""

from typing import Any

import pytest
from pytest_django import Settings

from billing import keys
from billing.grants import Grants, Scope
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from tests.zekron_api.openapi.test_document import check as check_document

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(me: Caller) -> Caller:
    """Return my account with a key that may choose."""
    _, text = keys.issue(
        account_id=me.account.pk, grants=Grants(scopes=(Scope.USAGE, Scope.READ, Scope.KEYS))
    )
    return me._replace(key=text)


def put(who: Caller, body: Any) -> Any:
    return who.client.put(
        "/v1/alerts", body, content_type="application/json", headers={"Authorization": f"Bearer {who.key}"}
    )


def test_nothing_is_told_until_an_account_wants_it(me: Caller) -> None:
    reply = me.get("/v1/alerts")
    check_document("/v1/alerts", "get", reply)
    assert reply.json()["data"] == {"low_balance": None, "thresholds": [], "email": None}
    assert refusal(put(me, {})) == (403, "key_scope")


def test_the_settings_are_replaced_as_a_whole(manager: Caller) -> None:
    reply = put(manager, {"low_balance": "5.00", "thresholds": [90, 10, 90]})
    check_document("/v1/alerts", "put", reply)
    settings = {"low_balance": "5.0000", "thresholds": [10, 90], "email": None}
    assert reply.json()["data"] == settings == manager.get("/v1/alerts").json()["data"]
    usual = {"low_balance": None, "thresholds": [50, 80, 100], "email": None}
    assert put(manager, {}).json()["data"] == usual


def test_the_balance_names_what_holds(manager: Caller) -> None:
    plain = manager.get("/v1/balance")
    check_document("/v1/balance", "get", plain)
    assert "alerts" not in plain.json()["data"]
    put(manager, {"low_balance": 10.5})
    reply = manager.get("/v1/balance")
    check_document("/v1/balance", "get", reply)
    assert reply.json()["data"]["alerts"] == [{"type": "low_balance", "threshold": "10.5000"}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"threshold": [50]}, "Unknown field. Allowed: low_balance, thresholds, email."),
        ({"low_balance": "0"}, "low_balance must be USD over zero"),
        ({"low_balance": []}, "low_balance must be USD over zero"),
        ({"thresholds": [0]}, "thresholds must be at most 10 whole numbers"),
        ({"thresholds": [50.5]}, "thresholds must be at most 10 whole numbers"),
        ({"thresholds": [True]}, "thresholds must be at most 10 whole numbers"),
        ({"thresholds": list(range(1, 12))}, "thresholds must be at most 10 whole numbers"),
        ({"email": 7}, "email must be a string, not a number."),
        ({"email": "ada"}, "email must be one address"),
        ({"email": "ada@example.com\nbcc: bob@example.com"}, "email must be one address"),
    ],
)
def test_a_bad_field_is_refused_by_name(
    manager: Caller, settings: Settings, body: dict[str, Any], message: str
) -> None:
    settings.SENDS_MAIL = True
    reply = put(manager, body)
    assert refusal(reply) == (400, "invalid_parameter")
    assert reply.json()["error"]["message"].startswith(message)


def test_mail_is_wanted_only_where_it_is_sent(manager: Caller, settings: Settings) -> None:
    assert refusal(put(manager, {"email": "ada@example.com"})) == (400, "unsupported_parameter")
    settings.SENDS_MAIL = True
    assert put(manager, {"email": "ada@example.com"}).json()["data"]["email"] == "ada@example.com"
