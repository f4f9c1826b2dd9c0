"""`gpu_workers` as it runs in production: a real process that starts real workers, here on two devices named cpu."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from django.db.models.functions import Now

from tests import factories, processes
from workers.gpu_worker import crew
from workers.gpu_worker.crew import Crew, WorkerRefused
from workers.messaging import worker_registry
from workers.models import Generation, Status

CLOCK = Now()


@contextmanager
def launcher(
    folder: Path, objects_folder: Path, *, models: str | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    text = (
        (processes.ROOT / "models.toml")
        .read_text()
        .replace('"flux2-klein"', '"tests.workers.scripted_engine"')
    )
    (folder / "models.toml").write_text(text if models is None else models)
    environment = {
        **os.environ,
        **processes.variables(8000, objects_folder),
        "MODELS_FILE": str(folder / "models.toml"),
    }
    with (folder / "launcher.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "gpu_workers", "--devices", "cpu,cpu", "--concurrency", "2"],
            cwd=processes.ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        # Its workers are told when it dies, and end by themselves.
        process.kill()
        process.wait()
        sys.stderr.write((folder / "launcher.log").read_text())


def names() -> set[str]:
    return {worker.name for worker in worker_registry.alive() if worker.name.startswith("gpu-cpu-")}


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_each_device_has_a_worker_another_where_one_is_lost_and_none_after_the_end(
    tmp_path: Path, objects_folder: Path
) -> None:
    before = names()
    with launcher(tmp_path, objects_folder) as process:
        processes.wait_until(lambda: len(names() - before) == 2)
        first = names() - before
        fatal = factories.submit(factories.account(), now=CLOCK, prompt="lose the device")
        processes.wait_until(lambda: len(names() - before - first) >= 1)
        Generation.objects.filter(pk=fatal.pk).update(status=Status.QUEUED, prompt="a fox")
        processes.wait_until(lambda: Generation.objects.filter(pk=fatal.pk, status=Status.COMPLETED).exists())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=processes.MAX_START_SECONDS) == 0
    log = (tmp_path / "launcher.log").read_text()
    assert "the worker of cpu has ended with status 70; another starts in" in log
    assert log.count("the worker of cpu has ended with status 0") == 2


@pytest.mark.processes
def test_a_worker_that_refuses_to_start_ends_them_all_with_its_own_line(
    tmp_path: Path, objects_folder: Path
) -> None:
    with launcher(tmp_path, objects_folder, models="[") as process:
        assert process.wait(timeout=processes.MAX_START_SECONDS) == 1
    log = (tmp_path / "launcher.log").read_text()
    assert "models.toml: is not TOML" in log
    assert "a worker could not start; its own line above says why" in log


def python(code: str) -> Callable[[str], Sequence[str]]:
    return lambda device: [sys.executable, "-c", code, device]


def test_a_worker_is_told_to_stop_once_and_what_it_has_begun_is_waited_for(tmp_path: Path) -> None:
    code = f"""
import pathlib, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
note = pathlib.Path({str(tmp_path)!r}, sys.argv[1])
note.write_text("ready")
while not told:
    time.sleep(0.01)
time.sleep(0.5)
note.write_text(f"told {{len(told)}} times")
"""
    workers = Crew(["cuda:0", "cuda:1"], command_for=python(code))
    both = [tmp_path / "cuda:0", tmp_path / "cuda:1"]

    def stop_when_ready(_number: int, _frame: object) -> None:
        if all(note.exists() and note.read_text() == "ready" for note in both):
            workers.stop()
            workers.stop()

    before = signal.signal(signal.SIGALRM, stop_when_ready)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        workers.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [note.read_text() for note in both] == ["told 1 times", "told 1 times"]


def test_one_that_does_not_stay_up_is_started_later_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(crew.time, "monotonic", lambda: now[0])
    starts: list[float] = []

    def command_for(device: str) -> list[str]:
        starts.append(now[0])
        if len(starts) == 9:
            workers.stop()
        return [sys.executable, "-c", "raise SystemExit(70)"]

    def pass_time(seconds: float) -> None:
        if all(post.process is None or post.process.poll() is not None for post in workers._posts):
            now[0] += 1

    monkeypatch.setattr(crew.time, "sleep", pass_time)
    workers = Crew(["cuda:0"], command_for=command_for)
    workers.run()
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    for pause, least in zip(pauses, (1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert least <= pause <= least + 3


def test_a_refusal_stops_the_others(tmp_path: Path) -> None:
    code = "import sys, time; sys.argv[1] == 'cuda:1' and sys.exit(1); time.sleep(600)"
    with pytest.raises(WorkerRefused):
        Crew(["cuda:0", "cuda:1"], command_for=python(code)).run()


def test_without_a_gpu_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert crew.visible_devices() == ["cpu"]
