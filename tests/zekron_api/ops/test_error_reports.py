"""Reports of errors: an unexpected one arrives with its place, and nothing that a client sent is in the envelope."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from pytest_django import Settings

from billing import keys
from tests import factories, telemetry
from tests.zekron_api.callers import Caller
from workers import log_context
from workers.messaging import background
from zekron_api.config.env import InvalidVariable
from zekron_api.endpoints import create_generation
from zekron_api.ops import error_reports, exporters

log = logging.getLogger("workers.test")


class Receiver:
    """A receiver of Sentry's envelopes."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def events(self) -> list[dict[str, Any]]:
        """Return the events that have arrived, after those on their way."""
        sentry_sdk.flush(timeout=10)
        return [json.loads(body.splitlines()[2]) for body in self.bodies]

    def text(self) -> str:
        """Return everything that has arrived."""
        sentry_sdk.flush(timeout=10)
        return "\n".join(self.bodies)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver to which this process reports while the test runs."""
    receiver = Receiver()

    def receive(post: telemetry.Post) -> None:
        receiver.bodies.append(f"{post.headers}\n".replace("\n", " ") + post.body.decode())

    with telemetry.receiving(receive) as port:
        error_reports.start(dsn=f"http://public@127.0.0.1:{port}/1")
        yield receiver
        sentry_sdk.get_client().close(timeout=10)
        sentry_sdk.get_global_scope().set_client(None)
        logging.root.handlers = [
            each for each in logging.root.handlers if not isinstance(each, error_reports._Flush)
        ]


def fail_with(secret: str) -> None:
    """Raise an error whose text, cause, note and local variables hold the secret."""
    local = [secret]
    try:
        raise KeyError(local[0])
    except KeyError as cause:
        error = ValueError(f"cannot read {local[0]}")
        error.add_note(local[0])
        raise error from cause


def test_a_report_has_the_line_the_place_and_the_work_at_hand(receiver: Receiver) -> None:
    with log_context.adding(request_id="abc", generation_id=7):
        try:
            fail_with("x")
        except ValueError:
            log.exception("it failed %d times", 3, extra={"route": "v1/generate"})
    [event] = receiver.events()
    assert event["logentry"] == {"formatted": "it failed 3 times"}
    assert event["level"] == "error"
    assert event["tags"] == {"request_id": "abc", "generation_id": "7", "route": "v1/generate"}
    assert [each["type"] for each in event["exception"]["values"]] == ["KeyError", "ValueError"]
    last = event["exception"]["values"][-1]["stacktrace"]["frames"][-1]
    assert (last["function"], last["in_app"]) == ("fail_with", True)
    assert set(last) <= {"filename", "abs_path", "module", "function", "lineno", "in_app"}


def test_nothing_of_an_exception_but_its_class_and_its_place_is_sent(receiver: Receiver) -> None:
    try:
        fail_with("canary")
    except ValueError as error:
        log.error("failed with %s", error, exc_info=error, extra={"body": "canary", "stack": "canary"})
        log.error(error)
    try:
        raise ExceptionGroup("canary", [ValueError("".join(["can", "ary"]))])
    except ExceptionGroup:
        log.exception("a group")
    events = receiver.events()
    texts = [event["logentry"]["formatted"] for event in events]
    assert texts == ["failed with ValueError", "ValueError", "a group"]
    assert "canary" not in receiver.text()


def test_a_warning_is_not_reported_and_nothing_besides_lines_of_the_log_is(receiver: Receiver) -> None:
    log.warning("only a warning")
    sentry_sdk.capture_message("not a line of the log")
    sentry_sdk.add_breadcrumb(message="a crumb")
    log.error("an error")
    [event] = receiver.events()
    assert event["logentry"] == {"formatted": "an error"}
    assert not {"breadcrumbs", "extra", "request", "user", "modules"} & set(event)


@pytest.mark.django_db(transaction=True)
def test_an_unexpected_error_of_a_request_is_reported_without_its_key_prompt_and_headers(
    me: Caller, engine: factories.StandInEngine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "a canary in a cage"

    def fail(**values: Any) -> None:
        fail_with(f"{me.key} {values['fields']['prompt']}")

    monkeypatch.setattr(create_generation, "create", fail)
    headers = {"Idempotency-Key": "canary-of-a-header", "X-Request-Id": "followed"}
    assert me.post("/v1/generate", {"prompt": prompt, "size": "512x512"}, **headers).status_code == 500
    [event] = receiver.events()
    assert event["logentry"] == {"formatted": "unexpected"}
    assert event["tags"] == {"request_id": "followed", "account_id": str(me.account.pk)}
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    for private in ("canary", me.key, me.key[12:-4], keys.digest(me.key)):
        assert private not in receiver.text()


@pytest.mark.django_db(transaction=True)
def test_an_error_of_a_long_lived_thread_is_reported(receiver: Receiver) -> None:
    assert not background.survive(name="heartbeat", work=lambda: fail_with("canary"))
    [event] = receiver.events()
    assert event["logentry"] == {"formatted": "heartbeat failed unexpectedly and goes on"}
    assert "canary" not in receiver.text()


def test_the_end_of_logging_sends_what_is_left(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[float] = []
    monkeypatch.setattr(sentry_sdk, "flush", lambda *, timeout: flushed.append(timeout))
    # As `logging.shutdown` does for each handler.
    for handler in logging.root.handlers:
        handler.flush()
    assert flushed == [error_reports.FLUSH_SECONDS]


def test_an_address_that_is_none_is_refused_without_its_key(settings: Settings) -> None:
    settings.SENTRY_DSN = "https://sentry.example.com/without-a-key"
    with pytest.raises(InvalidVariable) as refusal:
        exporters.start(process="web")
    assert "SENTRY_DSN is not of the form https://key@host/project." in str(refusal.value)
