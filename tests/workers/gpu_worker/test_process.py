"""Real worker processes: they find work without messages, finish or put back at SIGTERM, and leave a lost device."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from tests import factories, processes
from workers.messaging import enqueue, worker_registry
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
# Nothing listens there: a Redis that is away for the whole life of the worker.
NO_REDIS = "redis://127.0.0.1:1/0"
# A mistake of our own, in a thread that must not end by itself.
BREAK_A_THREAD = """
from workers.engine.stage_executor import StageExecutor
def fail(self, batch):
    raise LookupError("a mistake of our own")
StageExecutor._measure_speed = fail
"""
# A kernel that never ends, and a limit that a test can wait for.
HANG_IN_A_STAGE = """
import threading
from workers.engine import batcher
from workers.engine.stage_executor import StageExecutor
batcher.FIRST_HANG_SECONDS = 1.0
StageExecutor._decode_all = lambda self, batch: threading.Event().wait()
"""
# A beat that a test can wait for.
BEAT_OFTEN = """
import django
django.setup()
from workers.gpu_worker.heartbeat import Heartbeat
Heartbeat.__init__.__kwdefaults__["interval_seconds"] = 0.2
"""
# A consumer that takes every message and hears none.
DROP_MESSAGES = """
import django
django.setup()
from workers.gpu_worker import attempt
attempt.run_next = lambda *, context: print("dropped a message", flush=True)
"""
WORKER = """
import sys
from django.conf import settings
settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = {shutdown_seconds}
from celery.__main__ import main
{before}
arguments = "-A zekron_api worker -P threads -c 2 -Q gpu -n gpu@process --without-gossip --without-mingle"
sys.argv = ["celery", *arguments.split()]
sys.exit(main())
"""


@contextmanager
def _worker(
    folder: Path,
    objects_folder: Path,
    *,
    shutdown_seconds: float = 60.0,
    before: str = "",
    **environment: str,
) -> Iterator["subprocess.Popen[bytes]"]:
    with processes.started(
        ["-c", WORKER.format(shutdown_seconds=shutdown_seconds, before=before)],
        log=folder / "worker.log",
        objects_folder=objects_folder,
        MODELS_FILE=str(processes.scripted_models(folder)),
        **environment,
    ) as process:
        yield process


def _is(generation: Generation, status: Status) -> Callable[[], bool]:
    return lambda: Generation.objects.filter(pk=generation.pk, status=status).exists()


def _backends() -> set[int]:
    """Return the backends of PostgreSQL that serve others than this test."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in cursor.fetchall()}


def _cut(backends: set[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [list(backends)])


def test_a_worker_keeps_its_connections_from_task_to_task_and_replaces_those_that_are_cut(
    tmp_path: Path, objects_folder: Path
) -> None:
    owner = factories.account()

    def makes_one() -> Generation:
        made = factories.submit(owner, now=None)
        processes.wait_until(_is(made, Status.COMPLETED))
        return made

    with _worker(tmp_path, objects_folder):
        # The heartbeat's, the idle hands', and that of the thread which took the message.
        processes.wait_until(lambda: makes_one() and len(_backends()) == 3)
        kept = _backends()
        makes_one()
        assert kept <= _backends()
        _cut(kept)
        makes_one()
    assert "OperationalError" not in (tmp_path / "worker.log").read_text()


def test_without_redis_the_table_alone_brings_work_to_a_worker(tmp_path: Path, objects_folder: Path) -> None:
    owner = factories.account()
    waiting = [factories.submit(owner, now=None) for _ in range(3)]
    with _worker(tmp_path, objects_folder, REDIS_URL=NO_REDIS):
        for generation in waiting:
            processes.wait_until(_is(generation, Status.COMPLETED))
    owner.refresh_from_db()
    assert (owner.spent_micros, owner.reserved_micros) == (3 * factories.QUOTE_MICROS, 0)


def test_a_worker_whose_messages_are_lost_works_from_the_table_while_redis_is_up(
    tmp_path: Path, objects_folder: Path
) -> None:
    with _worker(tmp_path, objects_folder, before=DROP_MESSAGES):
        processes.wait_until(lambda: "gpu@process" in {each.name for each in worker_registry.list_alive()})
        generation = factories.submit(factories.account(), now=None)
        enqueue.send(generation_id=generation.pk)
        processes.wait_until(_is(generation, Status.COMPLETED))
        processes.wait_until(lambda: "dropped a message" in (tmp_path / "worker.log").read_text())


def test_without_redis_and_beat_a_worker_gives_up_what_is_overdue(
    tmp_path: Path, objects_folder: Path
) -> None:
    overdue = factories.submit(factories.account())
    with _worker(tmp_path, objects_folder, REDIS_URL=NO_REDIS):
        processes.wait_until(_is(overdue, Status.FAILED))


def test_a_worker_that_is_told_to_stop_finishes_what_the_device_is_at_and_puts_the_rest_back(
    tmp_path: Path, objects_folder: Path
) -> None:
    owner = factories.account()
    painted, behind = (factories.submit(owner, now=None, prompt="slow 3") for _ in range(2))
    with _worker(tmp_path, objects_folder) as process:
        processes.wait_until(_is(painted, Status.RUNNING))
        processes.wait_until(_is(behind, Status.RUNNING))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    ended = sorted([*Generation.objects.filter(pk__in=[painted.pk, behind.pk])], key=lambda row: row.status)
    assert [row.status for row in ended] == [Status.COMPLETED, Status.QUEUED]
    assert [row.attempt_count for row in ended] == [1, 0]


def test_what_takes_longer_than_a_worker_may_take_to_stop_is_put_back_too(
    tmp_path: Path, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None, prompt="slow 600")
    with _worker(tmp_path, objects_folder, shutdown_seconds=1.0) as process:
        processes.wait_until(_is(generation, Status.RUNNING))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    generation.refresh_from_db()
    assert (generation.status, generation.attempt_count) == (Status.QUEUED, 0)


def test_a_worker_that_has_made_enough_finishes_its_batch_puts_the_rest_back_and_ends_well(
    tmp_path: Path, objects_folder: Path
) -> None:
    owner = factories.account()
    made, painted, behind = (
        factories.submit(owner, now=None, prompt=prompt) for prompt in ("a boat", "slow 3", "slow 3")
    )
    with _worker(tmp_path, objects_folder, before=BEAT_OFTEN, MAX_GENERATIONS_PER_WORKER="1") as process:
        assert process.wait(timeout=60) == 0
    log = (tmp_path / "worker.log").read_text()
    assert log.count("this worker stops, to be started anew: it has worked on 1 generations") == 1
    ended = [Generation.objects.get(pk=row.pk) for row in (made, painted, behind)]
    assert [row.status for row in ended] == [Status.COMPLETED, Status.COMPLETED, Status.QUEUED]
    assert [row.attempt_count for row in ended] == [1, 1, 0]


def test_a_worker_whose_memory_has_no_room_for_its_models_refuses_to_start(
    tmp_path: Path, objects_folder: Path
) -> None:
    with _worker(tmp_path, objects_folder, MAX_WORKER_MEMORY="10") as process:
        assert process.wait(timeout=60) == 78
    assert "zekron: MAX_WORKER_MEMORY is 10 MiB, and a worker" in (tmp_path / "worker.log").read_text()


def test_a_lost_device_ends_the_worker_with_a_clear_line_and_costs_the_others_nothing(
    tmp_path: Path, objects_folder: Path
) -> None:
    owner = factories.account()
    slow = factories.submit(owner, now=None, prompt="slow 2")
    with _worker(tmp_path, objects_folder) as process:
        processes.wait_until(_is(slow, Status.RUNNING))
        fatal = factories.submit(owner, now=None, prompt="lose the device")
        assert process.wait(timeout=60) == 70
    assert "zekron: the device auto is lost" in (tmp_path / "worker.log").read_text()
    fatal.refresh_from_db()
    slow.refresh_from_db()
    assert (fatal.status, fatal.attempt_count) == (Status.QUEUED, 1)
    assert slow.status == Status.COMPLETED


def test_a_broken_thread_ends_the_worker_and_its_generation_is_tried_again(
    tmp_path: Path, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None)
    with _worker(tmp_path, objects_folder, before=BREAK_A_THREAD) as process:
        assert process.wait(timeout=60) == 70
    assert "a thread of zekron-image-1 broke; this worker exits" in (tmp_path / "worker.log").read_text()
    generation.refresh_from_db()
    assert (generation.status, generation.attempt_count) == (Status.QUEUED, 1)


def test_a_worker_whose_device_hangs_exits_and_the_attempt_counts(
    tmp_path: Path, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None)
    with _worker(tmp_path, objects_folder, before=HANG_IN_A_STAGE) as process:
        assert process.wait(timeout=60) == 70
    assert "hangs with zekron-image-1; this worker exits" in (tmp_path / "worker.log").read_text()
    generation.refresh_from_db()
    assert (generation.status, generation.attempt_count) == (Status.RUNNING, 1)
