"""Clients of server-sent events against a real web process: they see every change, reconnect, and know when to stop."""

import json
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from billing import audit, keys
from tests import factories, processes, tcp_proxy
from tests.clients import node
from tests.processes import Processes
from workers.lifecycle import generations
from workers.messaging import progress_events, worker_registry
from workers.messaging.progress_events import Step
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
TIMEOUT_SECONDS = 60


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages to workers go nowhere."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


@pytest.fixture
def web(tmp_path: Path, objects_folder: Path) -> Iterator[Processes]:
    """Run a web process that has seen a worker."""
    worker_registry.publish(worker_name="test", seconds_per_image=0.01)
    with processes.running(folder=tmp_path, objects_folder=objects_folder) as running:
        processes.wait_until(lambda: _is_up(running.url))
        yield running


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


class Watcher:
    """A client of the HTML standard: it connects again with the id of its last event until it is told to stop."""

    def __init__(self, web: Processes, row: Generation) -> None:
        _, key = keys.issue(account_id=row.account_id)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._url = f"{web.url}/v1/generations/{row.pk}/events"
        self.last_id = ""
        self.retry_milliseconds = 0
        self.received: list[ServerSentEvent] = []

    def connect(self, *, until: Callable[[ServerSentEvent], bool] = lambda _: False) -> int:
        """Read one connection's events to its end, or to the event that `until` accepts; return the status."""
        headers = {**self._headers, **({"Last-Event-ID": self.last_id} if self.last_id else {})}
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS) as client,
            connect_sse(client, "GET", self._url, headers=headers) as source,
        ):
            if source.response.status_code != 200:
                return source.response.status_code
            for event in source.iter_sse():
                if event.retry is not None:
                    self.retry_milliseconds = event.retry
                if not event.data:
                    continue
                self.last_id = event.id
                self.received.append(event)
                if until(event):
                    break
            return 200

    def names(self) -> list[str]:
        return [event.event for event in self.received]


def test_a_client_that_reconnects_half_way_gets_the_present_state_then_the_end_then_204(
    web: Processes,
) -> None:
    row = factories.submit(factories.account())
    watcher = Watcher(web, row)
    assert watcher.connect(until=lambda event: event.event == "status") == 200
    assert json.loads(watcher.received[0].data)["status"] == "queued"
    # Nobody listens while it is claimed.
    running = factories.claim(generation_id=row.pk, now=factories.NOW)
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(watcher.connect)
        processes.wait_until(lambda: _told(watcher, "running"))
        processes.wait_until(lambda: _has_progress(watcher, row))
        factories.finish(running)
        assert second.result(TIMEOUT_SECONDS) == 200
    assert watcher.retry_milliseconds == 2000
    assert watcher.names()[0] == "status"
    assert watcher.names()[-1] == "completed"
    assert json.loads(watcher.received[-1].data)["id"] == row.pk
    ids = [int(event.id) for event in watcher.received]
    assert ids == sorted(ids)
    assert watcher.connect() == 204
    assert watcher.names().count("completed") == 1


def _told(watcher: Watcher, status: str) -> bool:
    return any(json.loads(event.data).get("status") == status for event in list(watcher.received))


def _has_progress(watcher: Watcher, row: Generation) -> bool:
    """Publish a step, and return whether the client has heard of one."""
    progress_events.publish(steps={row.pk: Step(2, 4)})
    return "progress" in watcher.names()


def test_a_long_poll_returns_at_the_end_and_before_its_time(web: Processes) -> None:
    row = factories.generation_in(Status.RUNNING, factories.account())
    _, key = keys.issue(account_id=row.account_id)
    ask = processes.Server(web.url, key).ask
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(f"/v1/generations/{row.pk}?wait=60")))
    thread.start()
    factories.finish(row)
    thread.join(TIMEOUT_SECONDS)
    [answer] = answers
    assert (answer.status, answer.json["data"]["status"]) == (200, "completed")
    assert answer.json["data"]["image"]["url"].endswith(answer.json["data"]["token"])


def test_a_long_poll_returns_the_open_generation_at_its_time(web: Processes) -> None:
    row = factories.submit(factories.account())
    _, key = keys.issue(account_id=row.account_id)
    answer = processes.Server(web.url, key).ask(f"/v1/generations/{row.pk}?wait=1")
    assert (answer.status, answer.json["data"]["status"]) == (200, "queued")
    # Who polls takes nothing from the queue.
    row.refresh_from_db()
    assert row.status == Status.QUEUED


def test_a_deployment_ends_the_streams_at_once_and_they_go_on_elsewhere(web: Processes) -> None:
    row = factories.submit(factories.account())
    watchers = [Watcher(web, row) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        connected = [threads.submit(watcher.connect) for watcher in watchers]
        processes.wait_until(lambda: all(watcher.received for watcher in watchers))
        process = web.started["web"]
        process.send_signal(signal.SIGTERM)
        # Without the mark of the connection it would wait for the streams until its supervisor kills it.
        try:
            assert process.wait(TIMEOUT_SECONDS) == -signal.SIGTERM
        finally:
            # The clients would read for ever.
            process.kill()
        assert [each.result(TIMEOUT_SECONDS) for each in connected] == [200] * 3
    assert not re.search(r"ERROR|CRITICAL|Traceback", web.logs()), web.logs()
    assert all(watcher.names() == ["status"] for watcher in watchers)


def test_a_generation_that_is_cancelled_ends_its_stream(web: Processes) -> None:
    row = factories.submit(factories.account())
    watcher = Watcher(web, row)
    with ThreadPoolExecutor(1) as threads:
        connected = threads.submit(watcher.connect)
        processes.wait_until(lambda: watcher.received)
        generations.cancel(generation=row, error_type="x", error_code="X", now=factories.NOW)
        assert connected.result(TIMEOUT_SECONDS) == 200
    assert watcher.names()[-1] == "cancelled"
    assert json.loads(watcher.received[-1].data)["error"]["type"] == "x"


def test_a_proxy_that_cuts_every_connection_costs_nobody_a_picture_or_a_second_price(
    web: Processes, tmp_path: Path
) -> None:
    owner = factories.account()
    _, key = keys.issue(account_id=owner.pk)
    watched = factories.submit(owner, now=None)
    body = json.dumps({"prompt": "streamed", "size": "512x512"})
    with ExitStack() as stack:
        proxy = stack.enter_context(
            tcp_proxy.before(partial(socket.create_connection, ("127.0.0.1", web.port)))
        )
        url = f"http://127.0.0.1:{proxy.port}"
        sources = [
            stack.enter_context(
                node.running(
                    "eventsource.mjs", url + path, key, *more, package="eventsource", output=tmp_path / name
                )
            )
            for name, path, *more in (
                ("get", f"/v1/generations/{watched.pk}/events"),
                ("post", "/v1/generate", body),
            )
        ]
        client = stack.enter_context(httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS))
        client.headers.update({"Authorization": f"Bearer {key}", "Idempotency-Key": "plain"})
        threads = stack.enter_context(ThreadPoolExecutor(1))
        plain = {"prompt": "plain", "size": "512x512"}
        cut_off = threads.submit(client.post, "/v1/generate", json=plain)
        processes.wait_until(_three_are_accepted)
        processes.wait_until(lambda: all(_events_of(source) for source in sources))
        proxy.cut()
        with pytest.raises(httpx.TransportError):
            cut_off.result(TIMEOUT_SECONDS)
        proxy.restore()
        # The client that waited in vain asks again, and now it polls.
        accepted = client.post("/v1/generate", json=plain, headers={"Prefer": "respond-async"})
        assert (accepted.status_code, accepted.headers["Idempotent-Replayed"]) == (202, "true")
        polled = threads.submit(client.get, accepted.headers["Location"], params={"wait": 60})
        processes.wait_until(lambda: all(_count(source, "open") == 2 for source in sources))
        for row in Generation.objects.all():
            factories.finish(factories.claim(generation_id=row.pk), now=None)
        token = polled.result(TIMEOUT_SECONDS).json()["data"]["token"]
        assert client.get(f"/v1/images/{token}").content == b"png"
        # The last reply is 204, after which a client of the standard does not connect again.
        assert [source.wait(timeout_seconds=TIMEOUT_SECONDS) for source in sources] == [0, 0]
    for source in sources:
        told = _events_of(source)
        *states, end = [each["event"] for each in told]
        # Each of the two connections tells the present state. A look between claim and end tells one more.
        assert (set(states), len(states) in {2, 3}, end) == ({"status"}, True, "completed")
        assert [each["id"] for each in told] == sorted(each["id"] for each in told)
        assert source.lines()[-1] == {"event": "error", "code": 204}
    owner.refresh_from_db()
    assert (Generation.objects.count(), owner.settlement_count, owner.reserved_micros) == (3, 3, 0)
    assert list(audit.audit()) == []


def _three_are_accepted() -> bool:
    # Node may take its time to start, and a worker that says nothing counts as gone.
    worker_registry.publish(worker_name="test", seconds_per_image=0.01)
    return Generation.objects.count() == 3


def _events_of(source: node.Program) -> list[dict[str, Any]]:
    return [line for line in source.lines() if "data" in line]


def _count(source: node.Program, name: str) -> int:
    return sum(line["event"] == name for line in source.lines())
