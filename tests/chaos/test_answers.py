"""The invariant of answers."""

import pytest

from tests.chaos import answers
from tests.chaos.client_log import ClientLog, Order, Owner, Reply


@pytest.fixture
def client_log() -> ClientLog:
    return ClientLog()


def _order(client_log: ClientLog) -> Order:
    owner = Owner(1, "a key", 0)
    return client_log.open(
        owner=owner, prompt="a boat", size="512x512", sources=(), has_key=True, leaves=False
    )


def _answer(status: int, error_type: str) -> Reply:
    return Reply(0.0, status, error_type, None, "", "", "", False)


@pytest.mark.parametrize(
    ("status", "error_type"), [(503, "service_unavailable"), (504, "generation_timeout")]
)
def test_an_error_that_a_retry_heals_is_no_problem(
    client_log: ClientLog, status: int, error_type: str
) -> None:
    order = _order(client_log)
    client_log.note(order, _answer(status, error_type))
    client_log.note(order, _answer(200, ""))
    order.ended = "completed"
    assert list(answers.problems(client_log)) == []


def test_an_unexpected_error_is_a_problem_also_if_a_retry_succeeds(client_log: ClientLog) -> None:
    order = _order(client_log)
    client_log.note(order, _answer(500, "internal_error"))
    order.ended = "completed"
    assert list(answers.problems(client_log)) == ["order 1: was answered 500 internal_error"]


def test_an_order_whose_client_lost_patience_is_a_problem(client_log: ClientLog) -> None:
    _order(client_log).ended = "out of patience"
    assert list(answers.problems(client_log)) == ["order 1: never came to an end"]
