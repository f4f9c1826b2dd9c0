"""Refusals to start: at once, with one line that says why."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.processes

WORKER = [
    "-m",
    "celery",
    "-A",
    "zekron_api",
    "worker",
    "-P",
    "threads",
    "-c",
    "1",
    "-Q",
    "gpu",
    "-n",
    "gpu@start",
]
WEB = ["-m", "uvicorn", "zekron_api.asgi:application", "--port", "1", "--log-level", "critical"]


def _start(command: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "DEBUG": "1", **variables}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("command", [WORKER, WEB], ids=["worker", "web"])
def test_a_models_file_that_cannot_be_used_stops_the_start(command: Any, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text("[zekron-image-1]\nadapter = 7\n")
    ended = _start(command, MODELS_FILE=str(models))
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == os.EX_CONFIG
    assert last.startswith("zekron: ")
    assert "lacks the field" in last


def test_a_worker_without_its_weights_does_not_take_work(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text((ROOT / "models.toml").read_text().replace("./demo_model/weights", "var/nowhere"))
    ended = _start(WORKER, MODELS_FILE=str(models))
    assert ended.returncode == 78
    assert "has no weights at" in ended.stderr.strip().splitlines()[-1]


def test_a_worker_whose_engine_fails_in_any_way_does_not_take_work(tmp_path: Path) -> None:
    package = tmp_path / "odd"
    package.mkdir()
    (package / "adapter.py").write_text("def load(*, model, device):\n    raise LookupError('odd')\n")
    models = tmp_path / "models.toml"
    models.write_text((ROOT / "models.toml").read_text().replace('"flux2-klein"', '"odd.adapter"'))
    ended = _start(WORKER, MODELS_FILE=str(models), PYTHONPATH=str(tmp_path))
    assert ended.returncode == 75
    assert (
        ended.stderr.strip()
        .splitlines()[-1]
        .startswith("zekron: the models could not be loaded: LookupError")
    )


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SYNC_WAIT_SECONDS", "soon", "a whole number from 1 to 3600"),
        ("PORT", "99999", "a whole number from 1 to 65535"),
        ("DEBUG", "maybe", "neither 1 nor 0"),
        ("MASTER_KEYS", "a:AAAA", "it must have 32"),
        ("MASTER_KEYS", "a:!", "not base64"),
        ("STORAGE_URL", "ftp://x", "file:///"),
    ],
)
def test_a_variable_that_cannot_be_used_stops_the_start_with_one_line(
    name: str, value: str, why: str
) -> None:
    ended = _start(["-c", "from zekron_api import settings"], **{name: value})
    assert ended.returncode == os.EX_CONFIG
    assert ended.stderr.startswith(f"zekron: the environment variable {name} ")
    assert why in ended.stderr
    assert ended.stderr.count("\n") == 1
