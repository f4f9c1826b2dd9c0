"""The receiver takes what is signed for an account, sometimes fails, and speaks up about everything else."""

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from tests.chaos import receiver as receivers
from tests.chaos.client_log import ClientLog
from tests.chaos.receiver import FAILURES, TAKEN, WRONG_CLOCK, Receiver
from workers.webhooks import signing

SECRET = signing.text_of(b"a secret of an account")


@pytest.fixture
def client_log() -> ClientLog:
    """Return a log without an offence."""
    return ClientLog()


@pytest.fixture
def receiver(client_log: ClientLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Run a receiver that never fails, with the address of the account 7."""
    monkeypatch.setattr(receivers, "FAILING", 0)
    running = Receiver(client_log=client_log, seed=1)
    running.trust(account_id=7, secret=SECRET)
    yield running
    running.close()


def _send(
    receiver: Receiver,
    *,
    account_id: int = 7,
    secret: str = SECRET,
    attempt: int = 1,
    moment: datetime | None = None,
    event_type: str = "generation.completed",
    **data: Any,
) -> int:
    """Send an event, and return the status of the answer, or 0 if none came."""
    body = json.dumps({"type": event_type, "data": {"id": 42, "status": "completed", **data}})
    moment = moment or datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", moment, body),
        "X-Zekron-Attempt": str(attempt),
    }
    url = urlsplit(receiver.url_of(account_id))
    assert url.hostname
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    try:
        connection.request("POST", url.path, body, headers)
        return connection.getresponse().status
    except (http.client.HTTPException, OSError):
        return 0
    finally:
        connection.close()


def test_a_signed_event_is_taken_and_recorded(receiver: Receiver, client_log: ClientLog) -> None:
    assert _send(receiver) == 204
    (attempt,) = receiver.attempts()
    assert attempt[1:] == (7, "msg_1", "generation.completed", 42, TAKEN)
    assert client_log.offences == []


def test_an_event_that_another_secret_signed_is_an_offence(receiver: Receiver, client_log: ClientLog) -> None:
    assert _send(receiver, secret=signing.text_of(b"a secret of another account")) == 400
    assert "not signed" in client_log.offences[0]
    assert receiver.attempts() == []


def test_an_event_that_a_wrong_clock_signed_is_refused_without_an_offence(
    receiver: Receiver, client_log: ClientLog
) -> None:
    assert _send(receiver, moment=datetime.now(UTC) - timedelta(hours=2)) == 400
    assert [each.answer for each in receiver.attempts()] == [WRONG_CLOCK]
    assert client_log.offences == []


def test_an_address_that_nobody_named_is_an_offence(receiver: Receiver, client_log: ClientLog) -> None:
    assert _send(receiver, account_id=8) == 400
    assert "nobody" in client_log.offences[0]


def test_an_event_with_a_prompt_or_of_another_end_is_an_offence(
    receiver: Receiver, client_log: ClientLog
) -> None:
    _send(receiver, prompt="a boat")
    _send(receiver, event_type="generation.failed")
    assert "prompt" in client_log.offences[0]
    assert "says generation.failed" in client_log.offences[1]


def test_a_failure_of_the_receiver_itself_is_an_offence(
    receiver: Receiver, client_log: ClientLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Receiver, "_choose")
    assert _send(receiver) == 0
    assert "the receiver of webhooks failed" in client_log.offences[0]


def test_only_the_first_two_attempts_fail(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "FAILING", 1)
    monkeypatch.setattr(receivers, "HANG_SECONDS", 0)
    assert [_send(receiver, attempt=number) for number in (1, 2, 3, 4)][2:] == [204, 204]
    first, second, *_ = [each.answer for each in receiver.attempts()]
    assert {first, second} <= set(FAILURES)


@pytest.mark.parametrize(
    ("answer", "status"), [("500", 500), ("503", 503), ("hang", 0), ("close", 0), ("half an answer", 0)]
)
def test_each_failure_is_seen_by_the_sender(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr(receivers, "FAILING", 1)
    monkeypatch.setattr(receivers, "HANG_SECONDS", 0)
    monkeypatch.setattr(receivers, "FAILURES", (answer,))
    assert _send(receiver) == status
