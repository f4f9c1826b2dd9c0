"""The grants of a key, in their normal form, and when one key grants more than another."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.grants import DEFAULT_GRANTS, DEFAULT_SCOPES, Grants, InvalidGrant, Scope, check, find_excess

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
EVENING = datetime(2026, 11, 28, 18, tzinfo=UTC)


def test_grants_have_one_form() -> None:
    checked = check(
        Grants(
            scopes=("read", "generate", "read"),
            allowed_ips=("192.0.2.7", "2001:DB8::/32", "192.0.2.7/32"),
            allowed_models=("a", "b", "a"),
        )
    )
    assert checked.scopes == ("generate", "read")
    assert checked.allowed_ips == ("192.0.2.7/32", "2001:db8::/32")
    assert checked.allowed_models == ("a", "b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", ()),
        ("scopes", ("generate", "admin")),
        ("allowed_ips", ()),
        ("allowed_ips", ("192.0.2.0/99",)),
        ("allowed_ips", ("192.0.2.7/24",)),
        ("allowed_ips", ("localhost",)),
        ("allowed_ips", ("fe80::1%eth0",)),
        ("allowed_ips", ("::%\0/0",)),
        ("allowed_ips", tuple(f"192.0.2.{number}" for number in range(51))),
        ("allowed_models", ()),
        ("allowed_models", ("x" * 201,)),
        ("allowed_models", ("a\0",)),
        ("requests_per_minute", 0),
        ("requests_per_minute", 100_001),
        ("open_limit", 0),
        ("spend_limit_micros", 0),
        ("spend_limit_micros", 150),
        ("spend_period", "week"),
    ],
)
def test_what_no_key_can_have_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidGrant) as refusal:
        check(replace(DEFAULT_GRANTS, **{field: value}))
    assert refusal.value.field == field


def test_a_network_of_ipv4_in_the_form_of_ipv6_is_one_of_ipv4() -> None:
    checked = check(Grants(allowed_ips=("::ffff:192.0.2.0/120", "::ffff:192.0.2.7", "::/0")))
    assert checked.allowed_ips == ("192.0.2.0/24", "192.0.2.7/32", "::/0")


def test_a_key_that_issues_keys_has_no_limit_of_spending() -> None:
    with pytest.raises(InvalidGrant, match="scope keys"):
        check(Grants(scopes=(*DEFAULT_SCOPES, Scope.KEYS), spend_limit_micros=100))


HELD = Grants(
    scopes=("generate", "read"),
    expires_at=EVENING,
    allowed_ips=("192.0.2.0/24", "2001:db8::/32"),
    allowed_models=("a", "b"),
    requests_per_minute=10,
    open_limit=3,
)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scopes": ("read",)},
        {"expires_at": NOON},
        {"allowed_ips": ("192.0.2.128/25",)},
        {"allowed_ips": ("2001:db8:1::/48", "192.0.2.7")},
        {"allowed_models": ("b",)},
        {"requests_per_minute": 9},
        {"open_limit": 1},
        {"spend_limit_micros": 100},
    ],
)
def test_as_much_or_less_is_no_excess(change: dict[str, Any]) -> None:
    assert find_excess(HELD, replace(HELD, **change)) is None
    assert find_excess(DEFAULT_GRANTS, DEFAULT_GRANTS) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ("generate", "read", "keys")},
        {"expires_at": None},
        {"expires_at": datetime(2026, 11, 29, tzinfo=UTC)},
        {"allowed_ips": None},
        {"allowed_ips": ("192.0.0.0/16",)},
        {"allowed_ips": ("0.0.0.0/0",)},
        {"allowed_ips": ("::/0",)},
        {"allowed_models": None},
        {"allowed_models": ("b", "c")},
        {"requests_per_minute": None},
        {"requests_per_minute": 11},
        {"open_limit": None},
        {"open_limit": 4},
    ],
)
def test_more_than_the_holder_has_is_named(change: dict[str, Any]) -> None:
    assert find_excess(HELD, replace(HELD, **change)) == next(iter(change))


@pytest.mark.parametrize(
    ("address", "is_admitted"),
    [
        ("192.0.2.9", True),
        ("::ffff:192.0.2.9", True),
        ("2001:db8:7::1", True),
        ("192.0.3.9", False),
        ("2001:db9::1", False),
        ("", False),
        ("client", False),
    ],
)
def test_only_addresses_of_the_networks_are_admitted(address: str, is_admitted: bool) -> None:
    assert HELD.admits_address(address) is is_admitted
    assert DEFAULT_GRANTS.admits_address(address)
