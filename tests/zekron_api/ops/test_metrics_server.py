"""The page of each process: its own metrics, its liveness and its readiness, on a port of its own."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from tests import processes
from tests.processes import ROOT
from workers import liveness
from workers.messaging import background
from zekron_api.config.env import InvalidVariable
from zekron_api.local.run import free_port
from zekron_api.ops import metrics_server
from zekron_api.ops.metrics_server import MetricsServer


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def no_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no long-lived thread of another test count."""
    monkeypatch.setattr(liveness, "_watched", set())


class Checks:
    """The answers that a test gives to the probes."""

    is_alive = is_ready = True


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def server(checks: Checks) -> Iterator[MetricsServer]:
    with MetricsServer(
        "127.0.0.1", 0, is_alive=lambda: checks.is_alive, is_ready=lambda: checks.is_ready
    ) as server:
        server.start()
        yield server
        server.shutdown()


def port_of(server: MetricsServer) -> int:
    return int(server.socket.getsockname()[1])


def test_a_process_serves_its_own_metrics_and_those_of_its_memory(server: MetricsServer) -> None:
    status, page = ask(port_of(server), "/metrics?name=x")
    families = {family.name for family in text_string_to_metric_families(page)}
    assert status == 200
    assert {"zekron_generations_ended", "zekron_http_requests", "zekron_store_seconds"} <= families
    assert "process_resident_memory_bytes" in families or sys.platform != "linux"
    assert not [name for name in families if name.endswith("_created")]


def test_a_process_is_ready_once_it_takes_work(server: MetricsServer, checks: Checks) -> None:
    checks.is_ready = False
    assert ask(port_of(server), "/readyz")[0] == 503
    assert ask(port_of(server), "/healthz")[0] == 200
    checks.is_ready = True
    assert ask(port_of(server), "/readyz") == (200, "ok\n")


def test_a_process_is_not_alive_once_its_event_loop_hangs(server: MetricsServer, checks: Checks) -> None:
    assert ask(port_of(server), "/healthz") == (200, "ok\n")
    checks.is_alive = False
    assert ask(port_of(server), "/healthz") == (503, "dead: event loop\n")


def test_a_process_is_not_alive_once_an_error_has_ended_a_long_lived_thread(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail() -> None:
        raise LookupError

    for name, work in {"ends by itself": lambda: None, "breaks": fail}.items():
        thread = threading.Thread(target=liveness.run_watched, args=(work,), name=name)
        thread.start()
        thread.join()
    assert ask(port_of(server), "/healthz") == (503, "dead: breaks\n")


def test_another_path_is_not_found(server: MetricsServer) -> None:
    assert ask(port_of(server), "/admin/")[0] == 404


def test_an_error_that_nobody_expected_does_not_end_the_metrics_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    noted: list[str] = []
    monkeypatch.setattr(background, "note", lambda *, name, error: noted.append(name))
    serve, failures = MetricsServer.serve_forever, [LookupError(), LookupError()]

    def serve_at_the_third_try(server: MetricsServer) -> None:
        if failures:
            raise failures.pop()
        serve(server)

    monkeypatch.setattr(MetricsServer, "serve_forever", serve_at_the_third_try)
    with MetricsServer("127.0.0.1", 0) as server:
        server.start()
        assert ask(port_of(server), "/healthz") == (200, "ok\n")
        server.shutdown()
    assert noted == ["metrics server"] * 2


def test_clients_beyond_the_limit_are_cut_off_and_the_next_ones_are_served(
    server: MetricsServer,
) -> None:
    silent = [
        socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(metrics_server.MAX_CLIENTS)
    ]
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as one_more:
        assert one_more.recv(1) == b""
    for connection in silent:
        connection.close()
    assert eventually(lambda: answers(port_of(server), "/healthz"))


def test_a_silent_client_is_cut_off(monkeypatch: pytest.MonkeyPatch, server: MetricsServer) -> None:
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_a_client_that_sends_for_ever_is_cut_off_too(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=0.02) as slow:

        def is_cut_off() -> bool:
            try:
                slow.sendall(b"G")
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        assert any(is_cut_off() for _ in range(100))


def test_without_a_port_nothing_is_served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.METRICS_PORT = None
    monkeypatch.delattr(metrics_server, "MetricsServer")
    metrics_server.start()


@pytest.mark.parametrize("host", ["", "127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_refused_in_one_line(settings: Settings, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_INET6) as taken_too:
        settings.METRICS_PORT = taken.getsockname()[1]
        settings.METRICS_HOST = host
        if host == "::1":
            taken_too.bind(("::1", settings.METRICS_PORT))
            taken_too.listen()
        with pytest.raises(InvalidVariable) as refusal:
            metrics_server.start()
    assert str(refusal.value) == (
        f"zekron: the environment variable METRICS_PORT names the port {settings.METRICS_PORT}"
        f" of {host or 'all addresses'}: Address already in use."
    )


@pytest.mark.parametrize("host", ["localhost:9100", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_refused_in_one_line(settings: Settings, host: str) -> None:
    settings.METRICS_HOST, settings.METRICS_PORT = host, 9100
    with pytest.raises(InvalidVariable) as refusal:
        metrics_server.start()
    assert str(refusal.value) == (
        "zekron: the environment variable METRICS_HOST is not an address of this machine."
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    "program",
    [
        ["celery", "-A", "zekron_api", "beat", "--scheduler", "celery.beat:Scheduler"],
        ["celery", "--skip-checks", "-A", "zekron_api", "worker", "-P", "threads", "-Q", "chores"],
        ["uvicorn", "zekron_api.asgi:application"],
    ],
    ids=["beat", "worker", "web"],
)
def test_a_process_whose_port_is_taken_ends_with_that_line(program: list[str]) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", *program],
            cwd=ROOT,
            env={**os.environ, "METRICS_PORT": port},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == os.EX_CONFIG
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("zekron: ")]
    assert line.startswith(f"zekron: the environment variable METRICS_PORT names the port {port}")


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_gpu_worker_is_alive_while_it_loads_and_ready_once_it_has_loaded(
    tmp_path: Path, objects_folder: Path
) -> None:
    port = free_port()
    worker = "-m celery --skip-checks -A zekron_api worker -P threads -c 1 -Q gpu -n gpu@metrics"
    with processes.started(
        worker.split(),
        log=tmp_path / "gpu.log",
        objects_folder=objects_folder,
        METRICS_PORT=str(port),
        MODELS_FILE=str(slow_models(tmp_path)),
        PYTHONPATH=f"{tmp_path}:{ROOT}",
    ) as process:
        assert eventually(lambda: answers(port, "/healthz"))
        assert ask(port, "/readyz")[0] == 503
        (tmp_path / "load").touch()
        assert eventually(lambda: ask(port, "/readyz")[0] == 200)
        assert "zekron_make_seconds" in ask(port, "/metrics")[1]
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def slow_models(folder: Path) -> Path:
    """Return the path of a models.toml whose engine loads once there is a file named `load`."""
    # The name of an adapter that is not the project's own must have a dot.
    (folder / "slow").mkdir()
    (folder / "slow" / "engine.py").write_text(
        "import time, pathlib\n"
        "from tests.workers import scripted_engine\n"
        "def load(*, model, device):\n"
        f"    while not pathlib.Path({str(folder / 'load')!r}).exists():\n"
        "        time.sleep(0.01)\n"
        "    return scripted_engine.load(model=model, device=device)\n"
    )
    models = folder / "models.toml"
    models.write_text((ROOT / "models.toml").read_text().replace('"flux2-klein"', '"slow.engine"'))
    return models


def answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except OSError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether the condition holds before the time is over in which any process starts."""
    give_up_at = time.monotonic() + processes.MAX_START_SECONDS
    while time.monotonic() < give_up_at:
        if condition():
            return True
        time.sleep(0.02)
    return False
