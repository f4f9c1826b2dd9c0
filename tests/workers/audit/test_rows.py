"""The audit of generations against money, images and time: it is silent when all is well, and names what is not."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from billing.models import Account, Reservation
from storage import images
from storage.models import StoredImage
from tests import factories, movements
from tests.billing.tampering import tamper
from workers.audit import rows
from workers.lifecycle import attempt_statements, generations, submission
from workers.models import Generation, IdempotencyKey, Kind, SourceImage, Status

pytestmark = pytest.mark.django_db


def edited(owner: Account) -> Generation:
    """Complete an edit of one source."""
    queued = factories.submit(owner, kind=Kind.EDIT, sources=[[factories.sealed()]])
    return factories.finish(factories.claim(generation_id=queued.pk, now=factories.NOW))


@pytest.fixture
def done() -> Generation:
    """Complete an edit, which cost something; its account has another generation in every other status."""
    owner = factories.account()
    for status in set(Status) - {Status.COMPLETED}:
        factories.generation_in(status, owner)
    return edited(owner)


def test_generations_in_every_status_agree_with_their_money_and_images(done: Generation) -> None:
    assert list(rows.find_disagreements()) == []
    images.purge(now=factories.NOW + timedelta(days=2))
    assert list(rows.find_disagreements()) == []
    assert list(rows.find_open_work()) != []


TAMPERED = {
    "whether it is asynchronous": (
        "UPDATE workers_generation SET is_async = true WHERE status = 'completed'",
        "generation … (completed, account …): is asynchronous and its reservation is not, or the other way round",
    ),
    "a reservation": (
        "UPDATE workers_generation SET reservation_id = 0 WHERE status = 'completed'",
        "generation … (completed, account …): has no reservation",
    ),
    "whose reservation it is": (
        "INSERT INTO billing_account (name, status, balance_micros, reserved_micros, spent_micros, settlement_count,"
        " entry_count) VALUES ('other', 'active', 0, 0, 0, 0, 0);"
        "UPDATE billing_reservation SET account_id = (SELECT id FROM billing_account WHERE name = 'other')"
        " WHERE resolution = 'settled'",
        "generation … (completed, account …): its reservation … is of account …",
    ),
    "a quote": (
        "UPDATE workers_generation SET quote_micros = 100 WHERE status = 'queued'",
        "generation … (queued, account …): its quote is 100 micros and its reservation's 26700",
    ),
    "a completed one's resolution": (
        "UPDATE billing_reservation SET resolution = 'released', settled_micros = NULL WHERE resolution = 'settled'",
        "generation … (completed, account …): its reservation … is released",
    ),
    "a failed one's status": (
        "UPDATE workers_generation SET status = 'queued', ended_at = NULL WHERE status = 'failed'",
        "generation … (queued, account …): its reservation … is released",
    ),
    "a cancelled one's hold": (
        "UPDATE billing_reservation SET resolution = '', resolved_at = NULL WHERE resolution = 'released'",
        "generation … (cancelled, account …): its reservation … is open",
    ),
    "a running one's hold": (
        "UPDATE billing_reservation SET resolution = 'settled', settled_micros = 100, resolved_at = now()"
        " WHERE resolution = ''",
        "generation … (running, account …): its reservation … is settled",
    ),
    "a cost": (
        "UPDATE workers_generation SET cost_micros = 100 WHERE status = 'completed'",
        "generation … (completed, account …): its cost is 100 micros and 26700 are settled",
    ),
    "a cost over the quote": (
        "ALTER TABLE workers_generation DROP CONSTRAINT generation_cost_within_quote;"
        "UPDATE workers_generation SET cost_micros = 26800 WHERE status = 'completed'",
        "generation … (completed, account …): its cost of 26800 micros is over its quote",
    ),
    "a generation": (
        "DELETE FROM workers_generation WHERE status = 'queued'",
        "reservation … of account … belongs to no generation",
    ),
    "a hold of two": (
        "ALTER TABLE workers_generation DROP CONSTRAINT workers_generation_reservation_id_key;"
        "UPDATE workers_generation SET reservation_id ="
        " (SELECT reservation_id FROM workers_generation WHERE status = 'completed') WHERE status = 'queued'",
        "reservation … of account … belongs to 2 generations",
    ),
    "what was spent": (
        "UPDATE billing_account SET spent_micros = 26800",
        "account …: spent 26800 micros in 1 settlements, but its completed generations are 1 of 26700 micros",
    ),
    "how many settlements there were": (
        "UPDATE billing_account SET settlement_count = 2",
        "account …: spent 26700 micros in 2 settlements, but its completed generations are 1 of 26700 micros",
    ),
    "what is reserved": (
        "UPDATE billing_account SET reserved_micros = 0",
        "account …: reserved 0 micros, but its open generations' quotes are 53400 micros",
    ),
    "an account that is gone": (
        "DELETE FROM billing_account",
        "in total: spent 0 micros in 0 settlements and reserved 0, but all generations are 1 of 26700 and 53400",
    ),
    "an image's row": (
        "DELETE FROM storage_storedimage",
        "generation … (completed, account …): its image … has no row",
    ),
    "a completed one without image": (
        "ALTER TABLE workers_generation DROP CONSTRAINT generation_completed_has_image_and_cost;"
        "UPDATE workers_generation SET image_id = NULL WHERE status = 'completed'",
        "generation … (completed, account …): its image none has no row",
    ),
    "an image's expiry": (
        "UPDATE storage_storedimage SET expires_at = expires_at - interval '1 minute'",
        "generation … (completed, account …): its image … expires at …, and itself at …",
    ),
    "an image's key": (
        "UPDATE storage_storedimage SET wrapped_key = NULL, key_destroyed_at = expires_at - interval '1 minute'",
        "generation … (completed, account …): the key of its image … was destroyed at …, before it expired",
    ),
    "an image's object": (
        "UPDATE storage_storedimage SET wrapped_key = NULL, key_destroyed_at = expires_at,"
        " purged_at = expires_at - interval '1 minute'",
        "generation … (completed, account …): its image … was deleted at …, before it expired",
    ),
    "a source's key": (
        "UPDATE storage_storedimage SET wrapped_key = 'x', key_destroyed_at = NULL",
        "generation … (completed, account …): the key of its source image … outlives its end",
    ),
    "an image of nothing": (
        "ALTER TABLE workers_generation DROP CONSTRAINT generation_completed_has_image_and_cost;"
        "UPDATE workers_generation SET image_id = NULL",
        "image … belongs to no generation",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_audit_finds_tampering_with(done: Generation, what: str) -> None:
    statements, said = TAMPERED[what]
    tamper(statements)
    problems = list(rows.find_disagreements())
    # What stands for an id or a time is any text.
    wanted = re.compile(".*".join(re.escape(part) for part in said.split("…")))
    assert any(wanted.fullmatch(problem) for problem in problems), problems


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (model._meta.db_table, constraint.name)
        for model in (Generation, SourceImage, IdempotencyKey, StoredImage)
        for constraint in model._meta.constraints
    ],
)
def test_the_audit_finds_a_missing_constraint(table: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    assert list(rows.find_disagreements()) == [f"the constraint {name} of {table} is missing or not valid"]


def test_money_that_is_held_for_no_generation_is_named() -> None:
    owner = factories.account()
    with transaction.atomic():
        reservation = movements.hold(account_id=owner.pk, quote_micros=100)
    assert f"reservation {reservation.reservation_id} of account {owner.pk} belongs to no generation" in list(
        rows.find_disagreements()
    )


def test_a_tombstone_is_no_image_without_a_generation() -> None:
    StoredImage.objects.create(
        object_key="x",
        associated_data="nothing",
        byte_count=1,
        expires_at=factories.NOW,
        key_destroyed_at=factories.NOW,
    )
    assert list(rows.find_disagreements()) == []


LATE: dict[str, tuple[Callable[[], object], timedelta, str]] = {
    "an open generation": (
        lambda: factories.submit(factories.account()),
        timedelta(seconds=submission.DEADLINE_SECONDS) + rows.OPEN_GRACE,
        "generation … (queued): its deadline was 2026-01-01 12:10:00+00:00",
    ),
    "a generation at work": (
        lambda: factories.generation_in(Status.RUNNING, factories.account()),
        timedelta(seconds=submission.DEADLINE_SECONDS) + rows.OPEN_GRACE,
        "generation … (running): its deadline was 2026-01-01 12:10:00+00:00",
    ),
    "a key": (
        lambda: factories.generation_in(Status.COMPLETED, factories.account()),
        attempt_statements.IMAGE_LIFE + rows.KEY_GRACE,
        "image …: expired at 2026-01-02 12:00:00+00:00 and still has its key",
    ),
    "an object": (
        lambda: StoredImage.objects.create(
            object_key="x",
            associated_data="x",
            byte_count=1,
            expires_at=factories.NOW,
            key_destroyed_at=factories.NOW,
        ),
        rows.OBJECT_GRACE,
        "image …: its key was destroyed at 2026-01-01 12:00:00+00:00 and its object is not deleted",
    ),
}


@pytest.mark.parametrize("what", LATE)
def test_what_should_have_ended_is_named_once_its_grace_is_over(what: str) -> None:
    arrange, after, said = LATE[what]
    arrange()
    assert list(rows.find_overdue(now=factories.NOW + after)) == []
    (problem,) = rows.find_overdue(now=factories.NOW + after + timedelta(microseconds=1))
    assert re.fullmatch(".*".join(re.escape(part) for part in said.split("…")), problem)
    assert problem in list(rows.problems())


def test_what_is_purged_in_time_is_not_late(done: Generation) -> None:
    images.purge(now=factories.NOW + timedelta(hours=24))
    late = list(rows.find_overdue(now=factories.NOW + timedelta(days=30)))
    assert [line for line in late if line.startswith("image")] == []


def test_open_work_and_what_is_held_for_it_are_named_where_there_should_be_none(done: Generation) -> None:
    running = Generation.objects.get(status=Status.RUNNING)
    queued = Generation.objects.get(status=Status.QUEUED)
    assert sorted(rows.find_open_work()) == sorted(
        [
            f"account {done.account_id}: 53400 micros are reserved",
            f"generation {running.pk} (running): is open",
            f"generation {queued.pk} (queued): is open",
        ]
    )
    generations.cancel(generation=queued, error_type="service_busy", error_code="X", now=factories.NOW)
    generations.fail(generation=running, **factories.ERROR, now=factories.NOW)
    assert list(rows.find_open_work()) == []


@pytest.mark.django_db(transaction=True)
def test_the_command_says_that_all_is_well_beside_open_work() -> None:
    queued = factories.submit(factories.account(), now=timezone.now())
    assert _audited() == "The ledger adds up.\n"
    with pytest.raises(CommandError, match=r"^2 things do not add up\.$"):
        _audited("--at-rest")
    generations.cancel(generation=queued, error_type="service_busy", error_code="X")
    assert _audited("--at-rest", "--objects") == "The ledger adds up.\n"


@pytest.mark.django_db(transaction=True)
def test_the_command_prints_the_rows_of_money_and_work_and_fails() -> None:
    done = factories.generation_in(Status.COMPLETED, factories.account())
    Reservation.objects.filter(pk=done.reservation_id).update(settled_micros=100)
    out = StringIO()
    with pytest.raises(CommandError, match="3 things do not add up") as caught:
        call_command("audit_ledger", stdout=out)
    assert caught.value.returncode == 1
    money, work, late = out.getvalue().splitlines()
    assert money.startswith(f"reservation {done.reservation_id} of account {done.account_id} (settled")
    assert work.startswith(f"generation {done.pk} (completed")
    assert late.startswith(f"image {done.image_id}: expired at")


def _audited(*options: str) -> str:
    out = StringIO()
    call_command("audit_ledger", *options, stdout=out)
    return out.getvalue()
