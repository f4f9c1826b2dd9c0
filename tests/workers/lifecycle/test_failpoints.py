"""Each failpoint, with each way to go wrong there, in a process of its own: others bring to its end what it leaves."""

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import django
import pytest
from django.apps import apps

if not apps.ready:
    # In the process from which all others are forked, so that Django is loaded once.
    django.setup()

from django.conf import settings
from django.db import connection, transaction
from django.test.utils import override_settings
from django.utils import timezone

from billing.audit import audit as audit_money
from billing.models import Account
from storage import failpoints, images, orphans
from storage.models import StoredImage
from tests import factories
from workers.audit.rows import find_disagreements as audit_work
from workers.gpu_worker import attempt
from workers.lifecycle import attempt_statements, recovery
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

PURGES = ("keys_destroyed", "object_deleted")
# tests/workers/webhooks/test_deliverer.py has those of a process that delivers.
WEBHOOKS = ("webhook_claimed", "webhook_sent")
LEASE_OVER = timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
EXPIRED = attempt_statements.IMAGE_LIFE + timedelta(hours=1)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


class Job(NamedTuple):
    """A process's work, its failpoint, and what happens to it there."""

    database: dict[str, Any]
    stores: dict[str, Any]
    failpoint: str
    action: str
    account_id: int
    generation_id: int | None
    moment: datetime


@pytest.mark.parametrize("action", failpoints.ACTIONS)
@pytest.mark.parametrize("point", [point for point in failpoints.NAMES if point not in WEBHOOKS])
def test_what_a_process_leaves_there_others_bring_to_its_end_once(
    point: Any, action: Any, objects_folder: Path
) -> None:
    owner = factories.account()
    generation_id = _prepare(point, owner)
    moment = timezone.now() + (EXPIRED if point in PURGES else LEASE_OVER)
    job = Job(_database(), settings.STORAGES, point, action, owner.pk, generation_id, moment)
    with _process(job) as (process, line):
        if action == "hang":
            _freeze(process, line)
        else:
            process.join()
            assert process.exitcode == (-signal.SIGKILL if action == "kill" else 0)
        claimed = _take_over(moment)
        if process.is_alive():
            before = _rows()
            _let_go(process, line)
            assert _rows() == before
        _bring_to_an_end(claimed)
    _assert_made_and_charged_once(owner)
    _assert_no_object_is_left_over(objects_folder, purged=point in PURGES, now=moment)


def test_an_attempt_does_not_load_what_paints(tmp_path: Path) -> None:
    owner = factories.account()
    generation_id = factories.submit(owner, now=None).pk
    job = Job(_database(), settings.STORAGES, "", "", owner.pk, generation_id, timezone.now())
    with _process(job) as (process, line):
        assert "torch" not in line.recv()
        process.join()


def _prepare(point: str, owner: Account) -> int | None:
    """Prepare what the process finds: nothing, a queued generation, one that a dead worker left, or a completed one."""
    if point == "submitted":
        return None
    queued = factories.submit(owner, now=None)
    if point == "rescued":
        factories.claim(generation_id=queued.pk)
    if point in PURGES:
        _attempt()
    return queued.pk


def _take_over(moment: datetime) -> list[Generation]:
    """Do what the others have done by then: purge, sweep, and claim what is queued."""
    with transaction.atomic():
        # A transaction that a killed process had open ends a moment after it.
        list(Generation.objects.select_for_update())
    images.purge(now=moment)
    recovery.sweep(now=moment)
    queued = Generation.objects.filter(status=Status.QUEUED)
    # Their backoff, or the moment of the sweep that freed them, is over.
    queued.update(not_before=factories.NOW)
    return [factories.claim(generation_id=pk) for pk in queued.values_list("pk", flat=True)]


def _bring_to_an_end(claimed: list[Generation]) -> None:
    with factories.attempt_context(factories.StandInEngine()) as context:
        for generation in claimed:
            attempt.carry_out(generation=generation, context=context)


def _attempt() -> None:
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)


def _assert_made_and_charged_once(owner: Account) -> None:
    owner.refresh_from_db()
    assert [generation.status for generation in Generation.objects.all()] == [Status.COMPLETED]
    assert (owner.spent_micros, owner.settlement_count, owner.reserved_micros) == (
        factories.QUOTE_MICROS,
        1,
        0,
    )
    assert [*audit_money(), *audit_work()] == []


def _assert_no_object_is_left_over(folder: Path, *, purged: bool, now: datetime) -> None:
    orphans.remove(now=max(now, timezone.now() + timedelta(hours=1)))
    stored = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    image = Generation.objects.get().image
    assert stored == (set() if purged else {image.object_key})
    image.refresh_from_db()
    assert ((image.wrapped_key is None), (image.purged_at is not None)) == (purged, purged)


def _rows() -> list[object]:
    return [*Generation.objects.values(), *StoredImage.objects.values(), *Account.objects.values()]


def _database() -> dict[str, Any]:
    return dict(connection.settings_dict)


@contextmanager
def _process(job: Job) -> Iterator[tuple[BaseProcess, Connection]]:
    line, other_end = _forks.Pipe()
    process = _forks.Process(target=_do, args=(job, other_end))
    process.start()
    other_end.close()
    with closing(line):
        try:
            yield process, line
        finally:
            process.kill()
            process.join()


def _freeze(process: BaseProcess, line: Connection) -> None:
    assert line.recv() == "it stands still"
    os.kill(process.pid, signal.SIGSTOP)


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _let_go(process: BaseProcess, line: Connection) -> None:
    os.kill(process.pid, signal.SIGCONT)
    line.send("go on")
    process.join()
    assert process.exitcode == 0


# ── In the process ──────────────────────────────────────────────────────────────────────────────


def _do(job: Job, line: Connection) -> None:
    connection.settings_dict.update(job.database)
    os.environ["FAILPOINTS"] = f"{job.failpoint}={job.action}" if job.failpoint else ""
    importlib.reload(failpoints)

    def stand_still(_: float) -> None:
        line.send("it stands still")
        line.recv()

    # In a process of its own, which ends with the failpoint.
    vars(failpoints)["time"] = SimpleNamespace(sleep=stand_still)
    with override_settings(STORAGES=job.stores), suppress(failpoints.FailpointReached):
        _work(job)
    if not job.failpoint:
        line.send(list(sys.modules))


def _work(job: Job) -> None:
    if job.failpoint == "submitted":
        factories.submit(Account.objects.get(pk=job.account_id), now=None)
    elif job.failpoint == "rescued":
        recovery.sweep(now=job.moment)
    elif job.failpoint in PURGES:
        images.purge(now=job.moment)
    else:
        assert job.generation_id is not None
        _attempt()
