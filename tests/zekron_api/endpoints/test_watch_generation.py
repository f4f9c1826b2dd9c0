"""GET /v1/generations/{id} and its events: the owner's generation in every state, and a limit of their own."""

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing.money import format_usd
from storage import images
from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.lifecycle import queue_position
from workers.messaging import progress_events, worker_registry
from workers.messaging.progress_events import Step
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = {
    *(
        "id",
        "token",
        "type",
        "status",
        "model",
        "prompt",
        "size",
        "seed",
        "prompt_truncated",
        "prompt_tokens_read",
        "quality",
        "metadata",
        "group",
        "index",
        "output_format",
        "provenance",
        "image",
        "cost",
        "quote",
        "reserved",
    ),
    *("error", "progress", "queue", "cancel_requested", "attempts", "created_at", "started_at", "ended_at"),
}


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the queue of the test before."""
    monkeypatch.setattr(queue_position, "_seen", {})


def read(who: Caller, generation: Generation, query: str = "") -> dict[str, Any]:
    response = who.get(f"/v1/generations/{generation.pk}{query}")
    assert response.status_code == 200, response.content
    body = response.json()
    assert set(body) == {"success", "data", "created_at"}
    assert body["created_at"] == body["data"]["created_at"]
    assert set(body["data"]) == FIELDS
    data: dict[str, Any] = body["data"]
    return data


@pytest.mark.parametrize("status", list(Status))
def test_the_object_is_made_from_the_row_in_every_status(me: Caller, status: Status) -> None:
    row = factories.generation_in(status, me.account)
    data = read(me, row)
    is_open, is_completed = row.is_open, status == Status.COMPLETED
    assert (data["id"], data["status"], data["type"], data["size"]) == (row.pk, status, "create", "512x512")
    assert (data["prompt"], data["seed"], data["model"]) == ("a boat", 1, "zekron-image-1")
    assert (data["quote"], data["cost"]) == ("0.0267", "0.0267" if is_completed else None)
    assert data["reserved"] == ("0.0267" if is_open else "0.0000")
    assert (data["token"] is None) == (data["image"] is None) == (not is_completed)
    assert (data["error"] is None) == (status not in {Status.FAILED, Status.CANCELLED})
    assert (data["queue"] is None) == (status != Status.QUEUED)
    assert data["progress"] is None
    assert data["attempts"] == row.attempt_count
    assert (data["started_at"] is None) == (row.started_at is None)
    assert (data["ended_at"] is None) == is_open


def test_what_the_account_holds_is_what_its_open_generations_say(me: Caller) -> None:
    rows = [factories.generation_in(status, me.account) for status in Status]
    me.account.refresh_from_db()
    held = sum(round(float(read(me, row)["reserved"]) * 10_000) for row in rows)
    assert format_usd(held * 100) == format_usd(me.account.reserved_micros) != "0.0000"


def test_a_queued_one_has_its_place(me: Caller) -> None:
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=2.5)
    first, second = factories.submit(me.account), factories.submit(me.account)
    assert read(me, first)["queue"] == {"position": 0, "eta_seconds": 0}
    assert read(me, second)["queue"] == {"position": 1, "eta_seconds": 3}


def test_a_running_one_has_its_last_step_and_an_ended_one_has_none(me: Caller) -> None:
    running = factories.generation_in(Status.RUNNING, me.account)
    progress_events.publish(steps={running.pk: Step(1, 3)})
    assert read(me, running)["progress"] == {"step": 1, "steps": 3, "fraction": 0.3333}
    factories.finish(running)
    assert read(me, running)["progress"] is None


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("generation_failed", "Image generation failed. Nothing was charged. Try again."),
        ("service_busy", "The service is busy. Nothing was charged. Try again later."),
        ("from_a_later_release", "The generation ended without an image. Nothing was charged."),
    ],
)
def test_a_failed_one_says_why_with_the_code_for_support(me: Caller, error_type: str, message: str) -> None:
    row = factories.generation_in(Status.FAILED, me.account)
    Generation.objects.filter(pk=row.pk).update(error_type=error_type)
    error = {"type": error_type, "message": message, "code": row.error_code}
    assert read(me, row)["error"] == error


def test_an_erased_one_has_neither_prompt_nor_seed(
    me: Caller, settings: Settings, engine: factories.StandInEngine
) -> None:
    made = me.generate().json()["data"]
    row = Generation.objects.get(pk=made["id"])
    assert isinstance(read(me, row)["seed"], int)
    parameters = {name: value for name, value in row.parameters.items() if name != "seed"}
    Generation.objects.filter(pk=row.pk).update(prompt="", parameters=parameters)
    data = read(me, row)
    assert (data["prompt"], data["seed"]) == ("", None)


def test_the_bytes_are_there_for_those_who_ask_until_the_image_expires(
    me: Caller, engine: factories.StandInEngine
) -> None:
    made = me.generate().json()["data"]
    row = Generation.objects.get(pk=made["id"])
    image = {name: value for name, value in made["image"].items() if name != "b64_json"}
    assert read(me, row)["image"] == image
    assert read(me, row, "?include=b64_json")["image"] == made["image"]
    factories.expire_image(row.pk)
    assert "b64_json" not in read(me, row, "?include=b64_json")["image"]
    images.purge()
    assert "b64_json" not in read(me, row, "?include=b64_json")["image"]


def test_bytes_that_storage_has_lost_are_a_500_that_says_that_the_image_is_paid(
    me: Caller, engine: factories.StandInEngine, objects_folder: Any
) -> None:
    row = Generation.objects.get(pk=me.generate().json()["data"]["id"])
    for path in objects_folder.rglob("*"):
        if path.is_file():
            path.unlink()
    response = me.get(f"/v1/generations/{row.pk}?include=b64_json")
    assert refusal(response) == (500, "image_unreachable")
    assert response.json()["error"]["generation_id"] == row.pk
    # The last event leaves them out, because a client that waits for it would wait for ever.
    watched = me.get(f"/v1/generations/{row.pk}/events?include=b64_json")
    assert b"event: completed" in watched.content
    assert b"b64_json" not in watched.content


@pytest.mark.parametrize("suffix", ["", "/events"])
@pytest.mark.parametrize("name", ["0", "x", "-1", "%00", "9" * 19, "9" * 5000, "1e3"])
def test_an_unknown_id_is_not_found(me: Caller, name: str, suffix: str) -> None:
    assert refusal(me.get(f"/v1/generations/{name}{suffix}")) == (404, "not_found")


@pytest.mark.parametrize("suffix", ["", "?wait=60", "?include=b64_json", "/events"])
def test_another_accounts_generation_is_not_found(me: Caller, stranger: Caller, suffix: str) -> None:
    row = factories.generation_in(Status.COMPLETED, me.account)
    assert me.get(f"/v1/generations/{row.pk}{suffix}").status_code in {200, 500}
    foreign, unknown = (stranger.get(f"/v1/generations/{number}{suffix}") for number in (row.pk, row.pk + 9))
    assert refusal(foreign) == refusal(unknown) == (404, "not_found")
    assert foreign.json()["error"]["message"] == unknown.json()["error"]["message"]
    assert refusal(Client().get(f"/v1/generations/{row.pk}{suffix}")) == (401, "unauthorized")


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=1.5", "wait=", "include=url", "include="])
def test_a_query_that_says_nothing_sure_is_refused(me: Caller, query: str) -> None:
    row = factories.submit(me.account)
    assert refusal(me.get(f"/v1/generations/{row.pk}?{query}")) == (400, "invalid_parameter")


def test_polls_have_a_limit_of_their_own(me: Caller, settings: Settings) -> None:
    row = factories.generation_in(Status.COMPLETED, me.account)
    paths = (f"/v1/generations/{row.pk}", f"/v1/generations/{row.pk}/events")
    assert me.get(paths[0])["X-RateLimit-Limit"] == "600"
    assert me.get(paths[1])["X-RateLimit-Remaining"] == "598"
    assert me.get("/v1/balance")["X-RateLimit-Remaining"] == "59"
    settings.REQUESTS_PER_MINUTE = 0
    assert refusal(me.get("/v1/balance")) == (429, "rate_limit_exceeded")
    assert me.get(paths[0]).status_code == 200
    settings.POLLS_PER_MINUTE = 0
    for path in paths:
        refused = me.get(path)
        assert refusal(refused) == (429, "rate_limit_exceeded")
        assert "600 requests for single generations" in refused.json()["error"]["message"]
        assert int(refused["Retry-After"]) >= 1


def test_a_wrong_method_says_what_is_allowed_and_counts_nothing(me: Caller) -> None:
    row = factories.submit(me.account)
    for suffix in ("", "/events"):
        assert refusal(me.post(f"/v1/generations/{row.pk}{suffix}", {})) == (405, "method_not_allowed")
    assert me.get(f"/v1/generations/{row.pk}")["X-RateLimit-Remaining"] == "599"


def test_without_a_waiting_room_the_events_are_the_present_state(me: Caller) -> None:
    row = factories.generation_in(Status.RUNNING, me.account)
    response = me.get(f"/v1/generations/{row.pk}/events")
    assert response["Content-Type"] == "text/event-stream"
    assert re.fullmatch(
        rb'retry: 2000\n\nid: \d+\nevent: status\ndata: {"status":"running","queue":null}\n\n',
        response.content,
    )


@pytest.mark.parametrize("suffix", ["", "/events"])
def test_head_has_the_headers_and_no_body(me: Caller, room: Any, bearer: Any, suffix: str) -> None:
    row = factories.generation_in(Status.RUNNING, me.account)
    reply = room.send("HEAD", f"/v1/generations/{row.pk}{suffix}", [bearer])
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply["content-type"] == ("text/event-stream" if suffix else "application/json")
    assert ("content-length" in reply.headers) == (not suffix)
