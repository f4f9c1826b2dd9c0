"""The deliverer: threads that run, receivers that are slow, fail or are gone, and a process that dies in between."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from django.db import OperationalError

from storage import failpoints
from tests import factories, processes
from tests.workers.webhooks import made, receivers
from tests.workers.webhooks.receivers import Receiver
from workers.messaging import background
from workers.models import Generation
from workers.webhook_models import WebhookDelivery, WebhookEndpoint
from workers.webhooks import claims, deliverer, endpoints, events, sending
from workers.webhooks.claims import Room
from workers.webhooks.deliverer import Deliverer
from zekron_api.endpoints import generation_object

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deliverer]:
    """Run a deliverer that reads the table often."""
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 0.05)
    made_here = Deliverer(describe=generation_object.webhook_data)
    made_here.start()
    yield made_here
    made_here.close()


def wait_until(is_so: Callable[[], bool], seconds: float = 30) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def ended() -> Any:
    return WebhookDelivery.objects.filter(next_at__isnull=True)


def test_the_end_of_a_generation_arrives_signed_and_as_the_api_tells_it(
    receiver: Receiver, running: Deliverer
) -> None:
    owner = factories.account()
    endpoint = made.endpoint(owner, url=receiver.url)
    parameters = [{"width": 512, "height": 512, "seed": 1, "metadata": {"order": "7"}}] * 2
    one, two = factories.submit_all(owner, parameters=parameters)
    generation = factories.finish(factories.claim(generation_id=one.pk, now=factories.NOW))
    [got] = receiver.wait_for(1)
    event = standardwebhooks.Webhook(endpoints.secret_text(endpoint)).verify(got.body, got.headers)
    assert (event["type"], event["timestamp"]) == ("generation.completed", "2026-01-01T12:00:00Z")
    data = event["data"]
    assert (data["id"], data["status"], data["cost"]) == (generation.pk, "completed", "0.0267")
    assert (data["metadata"], data["group"], data["index"]) == ({"order": "7"}, [one.pk, two.pk], 0)
    assert data["image"]["url"].endswith(data["token"])
    assert isinstance(data["version"], int)
    assert "prompt" not in data
    assert b"b64_json" not in got.body
    assert b"a boat" not in got.body
    assert len(got.body) < 20_000
    assert got.headers["x-zekron-attempt"] == "1"
    wait_until(lambda: ended().count() == 1)
    row = WebhookDelivery.objects.get()
    assert (row.response_status, row.error, row.delivered_at is not None) == (200, "", True)
    assert row.message_id == got.headers["webhook-id"]


def test_the_prompt_is_sent_where_it_is_wanted(receiver: Receiver, running: Deliverer) -> None:
    owner = factories.account()
    made.endpoint(owner, url=receiver.url, include_prompt=True)
    factories.finish(factories.claim(generation_id=factories.submit(owner).pk, now=factories.NOW))
    assert receiver.wait_for(1)[0].json["data"]["prompt"] == "a boat"


def test_a_failed_attempt_is_repeated_with_the_same_id_and_body(
    receiver: Receiver, running: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.webhooks.schedule.DELAYS_SECONDS", (0,) * 8)
    monkeypatch.setattr(claims, "delay_seconds", lambda **_: 0.0)
    receiver.reply = receivers.status(500)
    made.delivery(made.endpoint(url=receiver.url))
    receiver.wait_for(2)
    receiver.reply = receivers.status(204, body=b"")
    wait_until(lambda: ended().count() == 1)
    got = receiver.received
    assert len({each.headers["webhook-id"] for each in got}) == 1
    assert len({each.body for each in got}) == 1
    assert [each.headers["x-zekron-attempt"] for each in got] == [str(n + 1) for n in range(len(got))]
    assert WebhookDelivery.objects.get().delivered_at is not None


def test_a_receiver_that_hangs_starves_no_other_and_gets_four_at_once(
    receiver: Receiver, running: Deliverer
) -> None:
    let_go = threading.Event()
    with receivers.running() as slow:

        def hang(handler: BaseHTTPRequestHandler) -> None:
            let_go.wait(60)
            receivers.status(200)(handler)

        slow.reply = hang
        hanging, healthy = made.endpoint(url=slow.url), made.endpoint(url=receiver.url)
        for _ in range(10):
            made.delivery(hanging)
        slow.wait_for(4)
        for _ in range(10):
            made.delivery(healthy)
        running.wake()
        receiver.wait_for(10)
        wait_until(lambda: ended().count() == 10)
        assert len(slow.received) == 4
        let_go.set()
        slow.wait_for(10)
        wait_until(lambda: ended().count() == 20)


def test_a_hint_is_followed_at_once(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 3600.0)
    running = Deliverer(describe=generation_object.webhook_data)
    running.start()
    # Its first round finds nothing.
    wait_until(lambda: running._loop is not None)
    made.delivery(made.endpoint(url=receiver.url))
    running.wake()
    receiver.wait_for(1)
    running.close()
    # What was under way is recorded before the end.
    assert ended().count() == 1


def test_an_error_that_nobody_expected_does_not_end_the_deliverer(
    receiver: Receiver, running: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[BaseException] = []
    monkeypatch.setattr(background, "note", lambda *, name, error: noted.append(error))
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    failures: list[BaseException] = [SystemExit(), ZeroDivisionError(), OperationalError()]
    look = claims.look

    def fail(**values: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return look(**values)

    monkeypatch.setattr(claims, "look", fail)
    made.delivery(made.endpoint(url=receiver.url))
    receiver.wait_for(1)
    # An absent database is told of by the process once.
    assert [type(error) for error in noted] == [SystemExit, ZeroDivisionError]


def test_one_message_that_cannot_be_made_delays_no_other(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = factories.account()
    endpoint = made.endpoint(owner, url=receiver.url)
    broken = factories.finish(factories.claim(generation_id=factories.submit(owner).pk, now=factories.NOW))
    good = made.delivery(endpoint)
    monkeypatch.setattr(background, "note", lambda *, name, error: None)

    def describe(generation: Generation, with_prompt: bool) -> dict[str, object]:
        raise ZeroDivisionError

    prepared, last_id = deliverer._prepare(0, Room(100, 100), describe)
    assert [delivery.pk for delivery, _ in prepared] == [good.pk]
    assert last_id == 0
    row = WebhookDelivery.objects.get(generation=broken)
    assert (row.lease_token, row.error) == (None, "internal")
    assert row.next_at > datetime.now(UTC)


def test_a_round_without_room_for_all_goes_on_where_it_ended() -> None:
    waiting = [made.endpoint() for _ in range(3)]
    for endpoint in waiting:
        made.delivery(endpoint)
    prepared, last_id = deliverer._prepare(0, Room(8, 8), lambda _, __: {})
    assert ([each.endpoint_id for each, _ in prepared], last_id) == (
        [each.pk for each in waiting[:2]],
        waiting[1].pk,
    )
    prepared, last_id = deliverer._prepare(last_id, Room(8, 8), lambda _, __: {})
    assert ([each.endpoint_id for each, _ in prepared], last_id) == ([waiting[2].pk], 0)


def test_an_attempt_that_nobody_records_is_made_again(
    receiver: Receiver, running: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = claims.record
    lost: list[object] = []

    def lose_the_first(**values: Any) -> bool:
        if not lost:
            lost.append(values)
            raise OperationalError
        return record(**values)

    monkeypatch.setattr(claims, "record", lose_the_first)
    made.delivery(made.endpoint(url=receiver.url))
    receiver.wait_for(1)
    wait_until(lambda: bool(lost))
    WebhookDelivery.objects.update(next_at=datetime.now(UTC))
    receiver.wait_for(2)
    wait_until(lambda: ended().count() == 1)


_DELIVER = """
import sys
import django
django.setup()
from datetime import UTC, datetime
from workers.webhooks import deliverer
running = deliverer.Deliverer(describe=lambda generation, with_prompt: {"id": generation.pk})
running.start()
running._thread.join(60)
"""


@pytest.mark.processes
@pytest.mark.parametrize(("point", "count"), [("webhook_claimed", 0), ("webhook_sent", 1)])
def test_what_a_process_leaves_that_is_killed_before_or_after_it_sent_is_sent_by_another(
    receiver: Receiver, point: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = factories.account()
    made.endpoint(owner, url=receiver.url)
    # The worker that ended the generation died before it could send a hint.
    factories.finish(factories.claim(generation_id=factories.submit(owner).pk, now=factories.NOW))
    killed = subprocess.run(
        [sys.executable, "-c", _DELIVER],
        cwd=processes.ROOT,
        env={
            **os.environ,
            **processes.variables(8000, tmp_path),
            "DJANGO_SETTINGS_MODULE": "zekron_api.settings",
            "FAILPOINTS": f"{point}=kill",
            "WEBHOOK_ALLOW_LOOPBACK": "1",
        },
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(receiver.received) == count
    WebhookDelivery.objects.update(next_at=datetime.now(UTC) - timedelta(seconds=1))
    monkeypatch.setattr(deliverer, "POLL_SECONDS", 0.05)
    other = Deliverer(describe=generation_object.webhook_data)
    other.start()
    got = receiver.wait_for(count + 1)
    other.close()
    assert len({each.headers["webhook-id"] for each in got}) == 1
    assert WebhookDelivery.objects.get().delivered_at is not None


def test_the_failpoint_between_lease_and_sending_is_reached_with_a_lease_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: list[str] = []
    monkeypatch.setattr(failpoints, "reach", reached.append)
    prepare = partial(deliverer._prepare, 0, Room(200, 100), generation_object.webhook_data)
    assert (prepare()[0], reached) == ([], [])
    made.delivery(made.endpoint(url="http://127.0.0.1:9/"))
    assert (len(prepare()[0]), reached) == (1, ["webhook_claimed"])


def test_a_closing_deliverer_waits_for_no_receiver_that_hangs(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        let_go.wait(60)

    receiver.reply = hang
    monkeypatch.setattr(deliverer, "STOP_SECONDS", 0.05)
    made.delivery(made.endpoint(url=receiver.url))
    running = Deliverer(describe=generation_object.webhook_data)
    running.start()
    receiver.wait_for(1)
    running.close()
    row = WebhookDelivery.objects.get()
    # Its lease ends later, and another process sends it again.
    assert row.lease_token is not None
    let_go.set()


def test_the_lease_outlasts_the_longest_attempt() -> None:
    assert claims.LEASE_SECONDS > 2 * sending.TOTAL_SECONDS
    assert sending.TOTAL_SECONDS == 15
    assert sending.CONNECT_SECONDS == 5
    assert WebhookEndpoint._meta.get_field("events").base_field.max_length >= max(
        map(len, events.SUBSCRIBABLE)
    )
