"""Settling while the database fails: before the commit, after it, or for good."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from billing.audit import audit
from billing.models import Account
from storage import failpoints
from storage.models import StoredImage
from tests import factories
from tests.database import start_elsewhere
from workers.gpu_worker import attempt
from workers.lifecycle import completion, generations
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
NO_PAUSES = (0.0, 0.0)
_END_WAITING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'
"""


class Troubled:
    """`generations.complete`, but its connection breaks: before the call, or after it was committed."""

    def __init__(self, *, before: int = 0, after: int = 0) -> None:
        self._complete = generations.complete
        self._before, self._after = before, after
        self.calls = 0

    def __call__(self, **arguments: Any) -> None:
        self.calls += 1
        if self._before:
            self._before -= 1
            raise OperationalError("the connection is closed")
        self._complete(**arguments)
        if self._after:
            self._after -= 1
            raise OperationalError("server closed the connection unexpectedly")


def _settle(
    monkeypatch: pytest.MonkeyPatch, running: Generation, image: StoredImage, trouble: Troubled
) -> None:
    monkeypatch.setattr(generations, "complete", trouble)
    completion.complete_with_retry(generation=running, image=image, pauses_seconds=NO_PAUSES)


def _charged_once(owner: Account, running: Generation, image: StoredImage) -> None:
    owner.refresh_from_db()
    assert owner.spent_micros == factories.QUOTE_MICROS
    assert Generation.objects.get(pk=running.pk).image.object_key == image.object_key
    assert list(audit()) == []


def test_a_failure_before_the_commit_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    running, image = factories.generation_in(Status.RUNNING, owner), factories.sealed()
    _settle(monkeypatch, running, image, Troubled(before=2))
    _charged_once(owner, running, image)


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    running, image = factories.generation_in(Status.RUNNING, owner), factories.sealed()
    trouble = Troubled(after=1)
    _settle(monkeypatch, running, image, trouble)
    assert trouble.calls == 2
    _charged_once(owner, running, image)


def test_a_database_that_stays_away_leaves_the_outcome_open(monkeypatch: pytest.MonkeyPatch) -> None:
    running, image = factories.generation_in(Status.RUNNING, factories.account()), factories.sealed()
    with pytest.raises(OperationalError):
        _settle(monkeypatch, running, image, Troubled(before=3))
    assert Generation.objects.get(pk=running.pk).status == Status.RUNNING


def test_an_object_is_kept_while_nobody_knows_whether_its_row_was_committed(
    monkeypatch: pytest.MonkeyPatch, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None)
    monkeypatch.setattr(generations, "complete", Troubled(before=1))
    monkeypatch.setattr(
        completion, "complete_with_retry", partial(completion.complete_with_retry, pauses_seconds=())
    )
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    assert Generation.objects.get(pk=generation.pk).status == Status.RUNNING
    assert len([path for path in objects_folder.rglob("*") if path.is_file()]) == 1


def test_a_generation_that_another_completed_is_not_taken_for_ones_own() -> None:
    running, image = factories.generation_in(Status.RUNNING, factories.account()), factories.sealed()
    factories.finish(running)
    with pytest.raises(generations.LeaseLost):
        completion.complete_with_retry(generation=running, image=image, pauses_seconds=NO_PAUSES)
    assert not StoredImage.objects.filter(object_key=image.object_key).exists()


def test_a_connection_that_is_ended_while_the_statement_waits_costs_nothing() -> None:
    owner = factories.account()
    running, image = factories.generation_in(Status.RUNNING, owner), factories.sealed()
    with transaction.atomic():
        # The statement has locked the generation and settled the reservation, and waits for this lock.
        Account.objects.select_for_update().get(pk=owner.pk)
        completed = start_elsewhere(
            lambda: completion.complete_with_retry(generation=running, image=image, pauses_seconds=NO_PAUSES)
        )
        assert not completed.done()
        with connection.cursor() as cursor:
            cursor.execute(_END_WAITING)
    completed.result()
    _charged_once(owner, running, image)


def test_a_connection_that_is_ended_before_the_settling_statement_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, objects_folder: Path
) -> None:
    owner = factories.account()
    generation = factories.submit(owner, now=None)
    ended: list[Any] = []

    def end_the_connection(point: str) -> None:
        if point == "settling" and not ended:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ended.extend(cursor.fetchone())
            with connections.create_connection("default").cursor() as other:
                other.execute("SELECT pg_terminate_backend(%s)", ended)
                other.connection.close()

    monkeypatch.setattr(failpoints, "reach", end_the_connection)
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    assert ended
    generation.refresh_from_db()
    assert (generation.status, generation.attempt_count) == (Status.COMPLETED, 1)
    _charged_once(owner, generation, generation.image)
    assert len([path for path in objects_folder.rglob("*") if path.is_file()]) == 1
