"""Trials that leave nothing behind, however their tests end."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mutants import descendants, trial
from zekron_api.local import redis_server

pytestmark = pytest.mark.processes

# Long enough for the processes to start on a busy machine.
START_SECONDS = 60

# A Redis in a session of its own, a process that ignores SIGTERM, and one whose parent has ended.
TESTS = """
import os, subprocess, sys, time

def test_that_starts_processes():
    settings = "port 0\\nunixsocket redis.sock\\ndir .\\ndaemonize yes\\n"
    subprocess.run([{redis!r}, "-"], input=settings, text=True, check=True, start_new_session=True)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w'); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    subprocess.run([sys.executable, "-c", orphan], check=True, cwd="/", start_new_session=True)
    while not os.path.exists("deaf"):
        time.sleep(0.01)
    open("started", "w").close()
    {ending}
"""


@pytest.mark.parametrize(
    ("ending", "limit_seconds", "status"),
    [("assert False", 60, 1), ("os._exit(3)", 60, 3), ("time.sleep(600)", 0.5, None)],
    ids=["red", "dead", "endless"],
)
def test_a_trial_ends_every_process_that_its_tests_started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    limit_seconds: float,
    status: int | None,
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "pytest.ini").write_text("[pytest]\naddopts = -p no:django -p no:valkey")
    (copy / "test_it.py").write_text(TESTS.format(redis=redis_server.binary(), ending=ending))
    is_over = trial._is_over

    def is_over_once_started(pytest: "subprocess.Popen[bytes]") -> bool:
        give_up_at = time.monotonic() + START_SECONDS
        while not (copy / "started").exists() and pytest.poll() is None:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        return is_over(pytest)

    monkeypatch.setattr(trial, "_is_over", is_over_once_started)
    monkeypatch.setattr(trial, "LIMIT_SECONDS", limit_seconds)
    monkeypatch.setattr(descendants, "ENDING_SECONDS", 2)
    ended, _ = trial._tested(copy, ["test_it.py"], "postgres://nobody@nowhere/nothing")
    assert ended == status
    assert (copy / "deaf").exists()
    assert descendants.find(copy) == []


def test_a_process_of_another_folder_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as other:
        with descendants.all_ended(tmp_path / "copy"):
            pass
        assert other.poll() is None
        assert [process.pid for process in descendants.find(tmp_path)] == [other.pid]
