"""A web process whose PostgreSQL is cut off or silent: 503 on every path, and one line when it goes and comes."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from billing.models import Account
from tests import processes, tcp_proxy
from tests.processes import Answer, Server, wait_until
from tests.tcp_proxy import Proxy
from workers.messaging import worker_registry
from workers.models import Generation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

SESSION = {"Cookie": f"sessionid={'a' * 32}; csrftoken={'b' * 32}"}
# Each needs the database: the first four by their key, the admin by its session.
PATHS: dict[str, Callable[[Server], Answer]] = {
    "balance": lambda server: server.ask("/v1/balance"),
    "history": lambda server: server.ask("/v1/generations"),
    "image": lambda server: server.ask(f"/v1/images/{'0' * 64}"),
    "generate": lambda server: server.ask("/v1/generate", {"prompt": "a boat"}),
    "large generate": lambda server: server.ask(
        "/v1/generate", {"prompt": "a boat", "more": "x" * 2_000_000}
    ),
    "admin page": lambda server: _browse(server, "/admin/"),
    "admin login": lambda server: _browse(
        server, "/me/login/", f"csrfmiddlewaretoken={'b' * 32}&login=x&password=y"
    ),
}


class Web(NamedTuple):
    """A web process behind a proxy before its database."""

    server: Server
    proxy: Proxy
    stack: processes.Processes

    def lines(self, text: str) -> int:
        return self.stack.logs().count(text)


def _browse(server: Server, path: str, form: str | None = None) -> Answer:
    data = None if form is None else form.encode()
    request = urllib.request.Request(server.url + path, data, SESSION)  # noqa: S310 (our own server)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
            return Answer(reply.status, dict(reply.headers), reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@pytest.fixture
def web(tmp_path: Path, objects_folder: Path) -> Iterator[Web]:
    """Start a web process, and show it a worker that takes nothing."""
    shown = threading.Event()

    def show() -> None:
        while not shown.wait(2):
            worker_registry.publish(worker_name="test", seconds_per_image=0.01)

    worker = threading.Thread(target=show)
    with tcp_proxy.before(processes.connect_to_database) as proxy:
        url = processes.database_url(host="127.0.0.1", port=proxy.port)
        with processes.running(
            folder=tmp_path, objects_folder=objects_folder, DATABASE_URL=url, SYNC_WAIT_SECONDS="4"
        ) as stack:
            worker_registry.publish(worker_name="test", seconds_per_image=0.01)
            worker.start()
            try:
                yield Web(processes.ready(stack.url), proxy, stack)
            finally:
                proxy.thaw()
                shown.set()
                worker.join()
                worker_registry.remove(worker_name="test")


def _assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.json["error"]["type"]) == (503, "service_unavailable"), answer
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert int(headers["retry-after"]) >= 1


def test_while_the_database_is_away_every_path_says_so_and_nothing_is_held(web: Web) -> None:
    assert web.server.ask("/v1/balance").status == 200
    web.proxy.cut()
    for _ in range(2):
        for path, ask in PATHS.items():
            answer = ask(web.server)
            _assert_unavailable(answer)
            assert "generation_id" not in answer.json["error"], path
    assert web.server.ask("/healthz").status == 200
    web.proxy.restore()
    wait_until(lambda: web.server.ask("/v1/balance").status == 200)
    assert _browse(web.server, "/me/login/").status == 200
    assert Account.objects.get().reserved_micros == 0
    assert Generation.objects.count() == 0
    assert (web.lines("PostgreSQL is away"), web.lines("PostgreSQL is back")) == (1, 1)
    assert web.lines("Traceback") == 0


def test_a_database_that_says_nothing_is_away_too(web: Web) -> None:
    assert web.server.ask("/v1/balance").status == 200
    web.proxy.freeze()
    _assert_unavailable(web.server.ask("/v1/balance"))
    _assert_unavailable(web.server.ask("/v1/generate", {"prompt": "a boat"}))
    web.proxy.thaw()
    wait_until(lambda: web.server.ask("/v1/balance").status == 200)
    assert (web.lines("PostgreSQL is away"), web.lines("PostgreSQL is back")) == (1, 1)


def test_a_client_that_waits_is_told_which_generation_was_accepted(web: Web) -> None:
    answers: list[Answer] = []
    client = threading.Thread(
        target=lambda: answers.append(web.server.ask("/v1/generate", {"prompt": "a boat"}))
    )
    client.start()
    wait_until(Generation.objects.exists)
    web.proxy.cut()
    client.join()
    (answer,) = answers
    _assert_unavailable(answer)
    assert answer.json["error"]["generation_id"] == Generation.objects.get().pk
    assert "GET /v1/generations" in answer.json["error"]["message"]
    assert web.lines("Traceback") == 0
