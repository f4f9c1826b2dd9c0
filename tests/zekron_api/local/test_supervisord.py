"""The supervisor of `make run`: it reads the Procfile, starts again what dies, and leaves nothing behind."""

import configparser
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import ROOT
from zekron_api.local import commands, run, supervisord

WAIT_SECONDS = 20
PROCFILE = """
# A comment, and a step that runs once.
release: false
web: sh -c 'echo $$ >> ${FOLDER:-nowhere}/web; exec sleep 1000.25'
gpu: sh -c 'echo $$ >> $FOLDER/gpu; echo 100%h; exec sleep 1000.25'
"""
KEEPER = """
import pathlib, sys
from zekron_api.local import supervisord
folder = pathlib.Path(sys.argv[1])
log, variables = folder / "log", {"FOLDER": str(folder)}
with supervisord.supervised(procfile=folder / "Procfile", folder=log, environment=variables) as it:
    it.start(["gpu", "web"])
    print(it.process.pid, flush=True)
    sys.stdin.read()
"""


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _pids(folder: Path, name: str) -> list[int]:
    path = folder / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose name a configuration file could misread, with a Procfile."""
    folder = tmp_path / "a 100% odd name; really"
    folder.mkdir()
    (folder / "Procfile").write_text(PROCFILE)
    return folder


def _supervise(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    """Start a process that keeps the Procfile's processes up; return it and the process id of its supervisord."""
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout
    pid = int(keeper.stdout.readline())
    _until(lambda: bool(_pids(folder, "web") and _pids(folder, "gpu")))
    return keeper, pid


def _ended(pids: list[int]) -> bool:
    return not any(commands.command_line(pid) for pid in pids)


def test_the_stack_runs_what_the_procfile_says() -> None:
    commands = supervisord.read(ROOT / "Procfile")
    assert set(commands) == {"web", "gpu", "chores", "beat"}
    assert commands["web"].startswith("uvicorn zekron_api.asgi:application ")


@pytest.mark.processes
def test_a_process_that_dies_is_started_again_and_all_end_with_their_keeper(folder: Path) -> None:
    keeper, supervisord = _supervise(folder)
    (first,) = _pids(folder, "gpu")
    # Until it counts as running supervisord starts it again whatever it was told.
    _until(lambda: "success: gpu entered RUNNING" in (folder / "log" / "supervisord.log").read_text())
    os.kill(first, signal.SIGKILL)
    _until(lambda: len(_pids(folder, "gpu")) == 2)
    keeper.communicate()
    assert keeper.returncode == 0
    assert _ended([supervisord, *_pids(folder, "web"), *_pids(folder, "gpu")])
    assert (folder / "log" / "gpu.log").read_text().startswith("100%h\n")


@pytest.mark.processes
def test_a_process_starts_when_it_is_told_and_not_before(folder: Path) -> None:
    variables = {"FOLDER": str(folder)}
    with supervisord.supervised(
        procfile=folder / "Procfile", folder=folder / "log", environment=variables
    ) as supervisor:
        supervisor.start(["gpu"])
        _until(lambda: bool(_pids(folder, "gpu")))
        # Both would have been started in the same moment.
        _until(lambda: "success: gpu entered RUNNING" in (folder / "log" / "supervisord.log").read_text())
        assert _pids(folder, "web") == []
        supervisor.start(["web"])
        _until(lambda: bool(_pids(folder, "web")))
        supervisor.close()
        # The servers of these processes may stop now, inside the block.
        assert _ended([supervisor.process.pid, *_pids(folder, "web"), *_pids(folder, "gpu")])
    with pytest.raises(supervisord.SupervisordFailed):
        supervisor.start(["web"])


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
@pytest.mark.parametrize("victim", ["keeper", "supervisord"])
def test_nothing_outlives_a_keeper_or_a_supervisor_that_was_killed(folder: Path, victim: str) -> None:
    keeper, supervisord = _supervise(folder)
    os.kill(keeper.pid if victim == "keeper" else supervisord, signal.SIGKILL)
    _until(lambda: _ended([supervisord, *_pids(folder, "web"), *_pids(folder, "gpu")]))
    keeper.communicate()


def test_a_process_that_dies_again_and_again_is_named(tmp_path: Path) -> None:
    line = "2026-01-01 12:00:00,000 WARN exited: gpu (exit status 1; not expected)\n"
    log = tmp_path / "supervisord.log"
    assert supervisord.broken(tmp_path) is None
    log.write_text(line * 2)
    assert supervisord.broken(tmp_path) is None
    log.write_text(line * 3)
    assert supervisord.broken(tmp_path) == "gpu"


def test_a_worker_that_ends_well_again_and_again_is_no_broken_one(tmp_path: Path) -> None:
    line = "2026-01-01 12:00:00,000 INFO exited: gpu (exit status 0; expected)\n"
    (tmp_path / "supervisord.log").write_text(line * 3)
    assert supervisord.broken(tmp_path) is None


def test_a_process_that_refuses_its_configuration_is_named_at_once(tmp_path: Path) -> None:
    lines = ["exited: web (exit status 75; not expected)", "exited: gpu (exit status 78; not expected)"]
    (tmp_path / "supervisord.log").write_text(
        "\n".join(f"2026-01-01 12:00:00,000 WARN {line}" for line in lines)
    )
    assert supervisord.broken(tmp_path) == "gpu"


@pytest.mark.processes
def test_a_taken_port_is_refused_in_one_line_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "zekron_api.local.run"]
        environment = os.environ | {"PORT": str(port)}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"zekron: port {port} is taken (Address already in use): choose another, as in `PORT=8001 make run`\n"
    )


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", run.free_port())):
        pass


def test_each_process_of_the_machine_has_a_metrics_port_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = {"web": "uvicorn", "gpu": "celery"}
    supervisord._write(tmp_path, commands=commands, working_folder=tmp_path)
    assert "METRICS_PORT" not in (tmp_path / "supervisord.conf").read_text()
    monkeypatch.setenv("METRICS_PORT", "9100")
    supervisord._write(tmp_path, commands=commands, working_folder=tmp_path)
    written = configparser.RawConfigParser()
    written.read(tmp_path / "supervisord.conf")
    ports = [written[f"program:{name}"]["environment"] for name in commands]
    assert ports == ['METRICS_PORT="9100"', 'METRICS_PORT="9101"']
