"""The comparison of the replies of two services, before their costs are compared."""

import pytest

from bench.cases.whole_path import has_fields

REPLY = {"success": True, "data": {"id": 42, "generations": [{"cost": "0.0267", "expires_at": None}]}}


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        {"success": False, "data": {"id": 7, "generations": [{"cost": "0.0250", "expires_at": None}]}},
        {**REPLY, "created_at": "2026-01-01T12:00:00+00:00"},
    ],
)
def test_other_values_and_further_fields_are_no_difference(reply: object) -> None:
    assert has_fields(reply, REPLY)


@pytest.mark.parametrize(
    "reply",
    [
        {"success": True},
        {"success": True, "data": {"id": "42", "generations": [{"cost": "0.0267", "expires_at": None}]}},
        {"success": True, "data": {"id": 42, "generations": []}},
        {"success": True, "data": {"id": 42, "generations": [{"cost": 0.0267, "expires_at": None}]}},
        {"success": True, "data": {"id": 42, "generations": [{"cost": "0.0267"}]}},
        {"success": True, "data": {"id": 42, "generations": {"cost": "0.0267", "expires_at": None}}},
        [REPLY],
    ],
)
def test_a_missing_field_and_another_type_are_differences(reply: object) -> None:
    assert not has_fields(reply, REPLY)
