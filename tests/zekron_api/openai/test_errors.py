"""Errors on the paths of OpenAI's clients, whoever makes them, and the native form everywhere else."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing import accounts
from tests import factories
from tests.assertions import openai_refusal, refusal
from tests.zekron_api.callers import Caller, caller
from workers.lifecycle import cancellation
from workers.models import Generation, Status
from zekron_api.http import errors, openai_errors

pytestmark = pytest.mark.django_db(transaction=True)
PATHS = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations")


@pytest.mark.parametrize("path", [*PATHS, "/v1/models", "/v1/models/zekron-image-1"])
def test_the_form_is_openais_before_and_after_the_key_is_known(me: Caller, path: str) -> None:
    assert openai_refusal(Client().post(path)) == (401, "invalid_api_key")
    wrong = me.delete(path)
    assert openai_refusal(wrong) == (405, "method_not_allowed")
    assert wrong["Allow"]
    assert wrong["Content-Length"] == str(len(wrong.content))
    accounts.suspend(account_id=me.account.pk)
    suspended = me.get(path)
    assert openai_refusal(suspended) == (403, "access_denied")
    assert suspended.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize("path", ["/v1/images/edits/", "/v1/models/", "/v1/models/a%0Ab"])
def test_a_slash_or_line_break_too_many_keeps_the_form(me: Caller, path: str) -> None:
    assert openai_refusal(me.get(path))[0] == 404


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/images/abc", "/v1/images", "/v1/images/generations/x"])
def test_other_paths_keep_the_services_own(me: Caller, path: str) -> None:
    assert refusal(me.post(path, {}))[0] in {400, 404, 405}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"", "application/json", 400, "invalid_json"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"{}" + b" " * 40_000_000, "application/json", 413, "payload_too_large"),
    ],
)
@pytest.mark.parametrize("path", PATHS[:2])
def test_a_body_that_cannot_be_read(
    me: Caller, path: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    reply = me.client.generic(
        "POST", path, body, content_type=content_type, headers={"Authorization": f"Bearer {me.key}"}
    )
    assert openai_refusal(reply) == (status, code)


def test_too_little_money_is_402_which_no_client_repeats(engine: factories.StandInEngine) -> None:
    reply = caller(balance_micros=100).post("/v1/images/generations", {"prompt": "a boat"})
    assert openai_refusal(reply) == (402, "insufficient_balance")
    assert reply.json()["error"]["type"] == "insufficient_quota"


def test_a_service_without_a_worker_says_when_to_try_again(me: Caller) -> None:
    reply = me.post("/v1/images/generations", {"prompt": "a boat"})
    assert openai_refusal(reply) == (503, "service_busy")
    assert (reply["Retry-After"], reply["x-should-retry"]) == ("30", "true")


@pytest.mark.usefixtures("idle_worker")
def test_too_many_requests(me: Caller, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE = 1
    me.get("/v1/models")
    reply = me.get("/v1/models")
    assert openai_refusal(reply) == (429, "rate_limit_exceeded")
    assert reply.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.usefixtures("idle_worker")
def test_what_is_cancelled_is_no_409_because_clients_repeat_those(
    me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(*, generation_id: int) -> None:
        row = Generation.objects.get(pk=generation_id)
        cancellation.request(generation=row, detail="by the test")

    monkeypatch.setattr("workers.messaging.enqueue.send", cancel)
    reply = me.post("/v1/images/generations", {"prompt": "a boat"})
    assert Generation.objects.get().status == Status.CANCELLED
    assert openai_refusal(reply) == (400, "generation_cancelled")
    assert reply["x-should-retry"] == "false"


@pytest.mark.usefixtures("idle_worker")
def test_what_is_not_finished_in_time_says_where_it_will_be(
    me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "workers.messaging.enqueue.send",
        lambda *, generation_id: factories.claim(generation_id=generation_id),
    )
    settings.SYNC_WAIT_SECONDS = 1
    reply = me.post("/v1/images/generations", {"prompt": "a boat"})
    assert openai_refusal(reply) == (504, "generation_timeout")
    assert (reply["x-should-retry"], reply.json()["error"]["type"]) == ("false", "server_error")
    assert reply["Location"] == f"/v1/generations/{Generation.objects.get().pk}"


def test_every_error_of_the_table_has_a_form_there() -> None:
    kinds: set[Any] = set()
    for _, status, error_type, _ in errors.TABLE:
        reply = openai_errors.translate(errors.envelope(status, error_type, "m", "X_ABCDEF_1234567890"))
        described = openai_errors.describe(errors.envelope(status, error_type, "m", "c"))
        assert set(described) == {"message", "type", "param", "code", "reference"}
        assert reply.status_code not in {408, 409}
        kinds.add(described["type"])
    assert kinds == {
        "invalid_request_error",
        "insufficient_quota",
        "permission_error",
        "rate_limit_error",
        "server_error",
        "image_generation_user_error",
    }
