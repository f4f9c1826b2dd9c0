"""Processes of Celery: their logs, and what they load."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.workers.webhooks import receivers
from zekron_api.local import supervisord

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
WORKER = "-m celery -A zekron_api worker -P threads -c 2 -Q gpu,chores -n gpu@log --without-gossip --without-mingle"


def test_a_generation_leaves_one_line_in_the_log_of_its_worker(tmp_path: Path, objects_folder: Path) -> None:
    with (
        receivers.running() as receiver,
        processes.running(
            folder=tmp_path,
            objects_folder=objects_folder,
            others={"gpu": WORKER.split()},
            MODELS_FILE=str(processes.scripted_models(tmp_path)),
            WEBHOOK_ALLOW_LOOPBACK="1",
        ) as stack,
    ):
        server = processes.ready(stack.url)
        assert server.ask("/v1/webhooks", {"url": receiver.url}).status == 201
        before = len((tmp_path / "gpu.log").read_text())
        made = server.ask("/v1/generate", {"prompt": "a boat", "size": "512x512"})
        assert made.status == 200
        # The process with the queue of the chores tells the account's webhook.
        assert receiver.wait_for(1)[0].json["data"]["id"] == made.json["data"]["id"]
    # The worker has ended, and each task before it.
    lines = (tmp_path / "gpu.log").read_text()[before:].splitlines()
    of_tasks = [
        line
        for line in lines
        if re.search(r" (workers\.gpu_worker\.attempt|celery\.(app\.trace|worker\.strategy)): ", line)
    ]
    assert len(of_tasks) == 1, "\n".join(lines)
    assert "completed at attempt 1" in of_tasks[0]


def test_workers_and_beat_load_no_endpoint() -> None:
    celery = [
        command
        for command in supervisord.read(processes.ROOT / "Procfile").values()
        if command.startswith("celery ")
    ]
    assert len(celery) == 3
    # Django's system checks would import every route. `migrate` runs them before.
    assert all("--skip-checks" in command.split() for command in celery)
    code = """
import sys
from celery.bin.celery import celery
from zekron_api.celery import app
celery.main(["--skip-checks", "-A", "zekron_api", "call", "--help"], standalone_mode=False)
app.loader.import_default_modules()
print("workers.tasks" in sys.modules, "zekron_api.urls" in sys.modules)
"""
    assert _last_line_of(code) == "True False"


def test_a_process_that_only_starts_django_sends_tasks_by_our_settings() -> None:
    code = """
import django
django.setup()
from workers.tasks import generate
print(generate.app.main, generate.app.conf.task_ignore_result, generate.app.conf.task_default_queue)
"""
    assert _last_line_of(code) == "zekron_api True chores"


def _last_line_of(code: str) -> str:
    environment = {**os.environ, "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "zekron_api.settings"}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=processes.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.splitlines()[-1]
