"""The command `cancel_generation`, for operators without a browser."""

import io

import pytest
from django.core.management import CommandError, call_command

from billing.management.actor import actor_of
from tests import factories
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("cancel_generation", *words, stdout=out)
    return out.getvalue()


def test_a_queued_generation_is_cancelled_with_the_reason() -> None:
    queued = factories.submit(factories.account())
    said = run(str(queued.pk), "--reason", "asked by mail")
    assert said == f"Generation {queued.pk} is cancelled. Nothing is charged.\n"
    row = Generation.objects.get()
    assert row.status == Status.CANCELLED
    assert row.error_detail == f"cancelled by {actor_of('cancel_generation')}: asked by mail"


def test_a_running_generation_is_left_to_its_worker_and_a_second_run_finds_nothing_to_do() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    assert "Its worker cancels it" in run(str(running.pk), "--reason", "asked by mail")
    assert Generation.objects.get().cancel_requested_at is not None
    with pytest.raises(CommandError, match=f"^Generation {running.pk} is being cancelled already.$"):
        run(str(running.pk), "--reason", "again")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_an_ended_generation_is_an_error(status: Status) -> None:
    ended = factories.generation_in(status, factories.account())
    with pytest.raises(CommandError, match=f"^Generation {ended.pk} has already ended: {status}.$"):
        run(str(ended.pk), "--reason", "asked by mail")


def test_an_unknown_id_a_missing_and_a_blank_reason_are_errors() -> None:
    queued = factories.submit(factories.account())
    with pytest.raises(CommandError, match="There is no generation 999999"):
        run("999999", "--reason", "x")
    with pytest.raises(CommandError, match="--reason"):
        run(str(queued.pk))
    with pytest.raises(CommandError, match="The reason must not be blank"):
        run(str(queued.pk), "--reason", " ")
    assert Generation.objects.get().status == Status.QUEUED
