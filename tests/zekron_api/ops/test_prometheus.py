"""The numbers for Prometheus: right, for who has the token alone, and there without the source that is away."""

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.processes import ROOT
from tests.zekron_api.callers import Caller
from workers.audit import scheduled
from workers.lifecycle import cancellation
from workers.messaging import counters, worker_registry
from workers.models import Generation, Status, UsageProgress

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "a token of thirty-two characters"


@pytest.fixture(autouse=True)
def token(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN


def ask(method: str = "get", *, authorization: str = f"Bearer {TOKEN}") -> Any:
    return getattr(Client(enforce_csrf_checks=True), method)(
        "/metrics", headers={"Authorization": authorization}
    )


def read() -> dict[str, float]:
    """Each sample of the page by its name and labels."""
    response = ask()
    assert response.status_code == 200
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_the_page_is_in_prometheus_text_format_and_is_kept_nowhere() -> None:
    response = ask()
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response["Cache-Control"] == "no-store"
    assert b"# TYPE zekron_unreadable_images_total counter\n" in response.content
    assert b"# HELP zekron_workers_alive Live GPU workers.\n" in response.content


def test_open_generations_are_counted_by_status_and_the_oldest_queued_is_timed() -> None:
    owner = factories.account()
    assert read()["zekron_oldest_queued_seconds"] == 0
    factories.submit(owner, now=timezone.now() - timedelta(seconds=300))
    factories.submit(owner, now=timezone.now())
    for status in set(Status) - {Status.QUEUED}:
        factories.generation_in(status, owner)
    found = read()
    assert found["zekron_generations_open status=queued"] == 2
    assert found["zekron_generations_open status=running"] == 1
    # The one that runs has been accepted for longer than any that waits.
    assert 300 <= found["zekron_oldest_queued_seconds"] < 3600
    assert found["zekron_oldest_synchronous_seconds"] == pytest.approx(
        found["zekron_oldest_queued_seconds"], abs=1
    )
    factories.submit(owner, now=timezone.now() - timedelta(seconds=900), queue_seconds=3600)
    found = read()
    assert found["zekron_oldest_queued_seconds"] >= 900 > found["zekron_oldest_synchronous_seconds"]


def test_the_end_of_the_rolled_up_usage_is_there_once_there_is_one() -> None:
    assert "zekron_usage_rolled_up_timestamp_seconds" not in read()
    UsageProgress.objects.create(closed_until=factories.NOW)
    assert read()["zekron_usage_rolled_up_timestamp_seconds"] == factories.NOW.timestamp()


def test_open_generations_are_counted_by_mode() -> None:
    owner = factories.account()
    factories.submit(owner)
    for _ in range(2):
        factories.submit(owner, queue_seconds=3_600)
    factories.generation_in(Status.RUNNING, owner)
    found = read()
    assert found["zekron_generations_open_of_mode mode=synchronous"] == 2
    assert found["zekron_generations_open_of_mode mode=asynchronous"] == 2


def test_what_ended_without_an_image_in_the_last_hour_is_counted_by_its_cause() -> None:
    owner = factories.account()
    assert not [name for name in read() if "ended_without_image" in name]
    for status in Status:
        factories.generation_in(status, owner)
    queued = factories.submit(owner)
    cancellation.request(generation=queued, detail="asked")
    old = factories.generation_in(Status.FAILED, owner)
    Generation.objects.exclude(ended_at=None).update(ended_at=timezone.now() - timedelta(minutes=59))
    Generation.objects.filter(pk=old.pk).update(ended_at=timezone.now() - timedelta(minutes=61))
    name = "zekron_generations_ended_without_image"
    assert {key: value for key, value in read().items() if name in key} == {
        f"{name} cause=generation_cancelled status=cancelled": 1,
        f"{name} cause=service_busy status=cancelled": 1,
        f"{name} cause=generation_failed status=failed": 1,
    }


def test_a_long_queue_is_looked_at_no_further_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    for _ in range(3):
        factories.submit(owner)
    monkeypatch.setattr(counters, "MAX_COUNTED_ROWS", 2)
    assert read()["zekron_generations_open status=queued"] == 2


def test_what_is_open_is_read_by_an_index_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            open_rows = Generation.objects.filter(status__in=[Status.QUEUED, Status.RUNNING])
            plan = open_rows.values("status", "created_at")[: counters.MAX_COUNTED_ROWS].explain()
        finally:
            cursor.execute("RESET enable_seqscan")
    assert "generation_open" in plan or "generation_deadline" in plan
    assert "Seq Scan" not in plan


def test_workers_that_live_are_counted_and_show_how_fast_they_are() -> None:
    worker_registry.publish(worker_name="gpu-1@a", seconds_per_image=1.25)
    worker_registry.publish(worker_name="gpu-2@b")
    found = read()
    assert found["zekron_workers_alive"] == 2
    assert {name: value for name, value in found.items() if "per_image" in name} == {
        "zekron_worker_seconds_per_image worker=gpu-1@a": 1.25
    }


def test_workers_that_load_are_counted_apart() -> None:
    loading = worker_registry.Details(models={}, loading=("zekron-image-1",), loading_fraction=0.4)
    worker_registry.publish(worker_name="gpu-1@a", details=loading)
    worker_registry.publish(worker_name="gpu-2@b")
    found = read()
    assert (found["zekron_workers_alive"], found["zekron_workers_loading"]) == (1, 1)
    assert found["zekron_worker_loading_fraction worker=gpu-1@a"] == 0.4
    assert found["zekron_workers_of_model model=zekron-image-1"] == 1


def test_workers_show_how_busy_their_devices_are_and_which_models_they_have() -> None:
    busy = worker_registry.Details(models={"zekron-image-1": None}, busy_fraction=0.75)
    worker_registry.publish(worker_name="gpu-1@a", details=busy)
    worker_registry.publish(worker_name="gpu-2@b", details=worker_registry.Details(models={"other": None}))
    found = read()
    assert {name: value for name, value in found.items() if "busy" in name or "of_model" in name} == {
        "zekron_worker_busy_fraction worker=gpu-1@a": 0.75,
        "zekron_worker_busy_fraction worker=gpu-2@b": 0.0,
        "zekron_workers_of_model model=zekron-image-1": 1,
    }


def test_the_last_audit_is_shown_with_its_time_once_there_was_one() -> None:
    assert not [name for name in read() if "audit" in name]
    with connection.cursor() as cursor:
        factories.account()
        cursor.execute("UPDATE billing_account SET entry_count = 7")
    ran = scheduled.run()
    found = read()
    assert found["zekron_audit_problems"] == ran.problem_count == 1
    assert found["zekron_audit_ended_timestamp_seconds"] == pytest.approx(ran.ended_at_seconds)


def test_every_read_of_an_image_that_is_lost_or_broken_is_counted(
    me: Caller, engine: factories.StandInEngine
) -> None:
    done = me.generate().json()["data"]
    image = StoredImage.objects.get()
    assert read()["zekron_unreadable_images_total"] == 0
    StoredImage.objects.update(associated_data="another")
    assert me.get(f"/v1/images/{done['token']}").status_code == 500
    storages["objects"].delete(image.object_key)
    assert me.get(f"/v1/images/{done['token']}").status_code == 500
    assert read()["zekron_unreadable_images_total"] == 2


def test_a_retry_that_finds_its_image_lost_is_counted_too(
    me: Caller, engine: factories.StandInEngine
) -> None:
    body, name = {"prompt": "a ship"}, {"Idempotency-Key": "one"}
    assert me.post("/v1/generate", body, **name).status_code == 200
    storages["objects"].delete(StoredImage.objects.get().object_key)
    assert me.post("/v1/generate", body, **name).status_code == 500
    assert read()["zekron_unreadable_images_total"] == 1


def test_without_redis_what_cannot_be_counted_is_answered_all_the_same(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    counters.count_unreadable_image()


def test_an_image_past_its_time_is_not_unreadable(me: Caller, engine: factories.StandInEngine) -> None:
    done = me.generate().json()["data"]
    Generation.objects.update(expires_at=timezone.now())
    assert refusal(me.get(f"/v1/images/{done['token']}")) == (410, "expired")
    assert read()["zekron_unreadable_images_total"] == 0


def test_without_redis_its_numbers_are_absent_and_those_of_postgresql_are_there(settings: Settings) -> None:
    assert read()["zekron_source_up source=redis"] == 1
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    # The numbers of the process itself need no source.
    shared = {name: value for name, value in read().items() if not name.startswith("zekron_web_")}
    assert shared == {
        "zekron_generations_open status=queued": 0,
        "zekron_generations_open status=running": 0,
        "zekron_generations_open_of_mode mode=asynchronous": 0,
        "zekron_generations_open_of_mode mode=synchronous": 0,
        "zekron_oldest_queued_seconds": 0,
        "zekron_oldest_synchronous_seconds": 0,
        "zekron_purge_backlog": 0,
        "zekron_purge_oldest_seconds": 0,
        "zekron_source_up source=postgresql": 1,
        "zekron_source_up source=redis": 0,
    }


def test_without_postgresql_its_numbers_are_absent_and_those_of_redis_are_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE workers_generation RENAME TO hidden")
        try:
            found = read()
        finally:
            cursor.execute("ALTER TABLE hidden RENAME TO workers_generation")
    assert found["zekron_source_up source=postgresql"] == 0
    assert found["zekron_workers_alive"] == 0
    assert "zekron_oldest_queued_seconds" not in found


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_without_a_token_in_the_settings_there_is_no_such_path(settings: Settings, method: str) -> None:
    settings.METRICS_TOKEN = ""
    assert refusal(ask(method)) == (404, "not_found")
    assert refusal(ask(method, authorization="Bearer ")) == (404, "not_found")
    assert "/metrics" not in Client().get("/v1/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN[:-1]}", "Bearer t\xf6ken"],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_another_token_is_refused_in_the_envelope(method: str, authorization: str) -> None:
    response = ask(method, authorization=authorization)
    assert refusal(response) == (401, "unauthorized")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_key_of_the_api_is_no_token(me: Caller) -> None:
    assert refusal(me.get("/metrics")) == (401, "unauthorized")


def test_metrics_are_read_and_nothing_else() -> None:
    assert ask("head").status_code == 200
    response = ask("post")
    assert refusal(response) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.processes
def test_a_token_that_could_be_guessed_stops_the_start() -> None:
    variables = {**os.environ, "METRICS_TOKEN": "guess me", "DJANGO_SETTINGS_MODULE": "zekron_api.settings"}
    ended = subprocess.run(
        [sys.executable, "-c", "from zekron_api import settings"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (
        os.EX_CONFIG,
        "zekron: the environment variable METRICS_TOKEN has 8 characters; it must have at least 32.\n",
    )
