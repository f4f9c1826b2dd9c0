"""Clients that were lost: noted on the row, and found by one retry of the same request."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.conf import settings
from django.db import transaction

from tests import factories
from tests.database import start_elsewhere
from workers.lifecycle import generations, idempotency, lost_clients
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
REQUEST = ["key", "a boat", "zekron-image-1", "512x512"]
DIGEST = idempotency.digest_of(request=REQUEST, secret_key=settings.SECRET_KEY)


def _lost(status: Status = Status.QUEUED) -> Generation:
    generation = factories.generation_in(status, factories.account())
    lost_clients.note(generation_id=generation.pk, digest=DIGEST)
    return generation


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.COMPLETED])
def test_a_retry_finds_the_generation_of_a_lost_client_once(status: Status) -> None:
    lost = _lost(status)
    assert lost_clients.attach(account_id=lost.account_id, digests=[DIGEST]) == lost
    assert lost_clients.attach(account_id=lost.account_id, digests=[DIGEST]) is None


def test_a_retry_waits_for_a_worker_that_writes_the_row() -> None:
    lost = _lost(Status.RUNNING)
    with transaction.atomic():
        Generation.objects.select_for_update(no_key=True).get(pk=lost.pk)
        retry = start_elsewhere(partial(lost_clients.attach, account_id=lost.account_id, digests=[DIGEST]))
        assert not retry.done()
    assert retry.result() == lost


def test_of_two_retries_at_once_one_attaches() -> None:
    lost = _lost()
    attach = partial(lost_clients.attach, account_id=lost.account_id, digests=[DIGEST])
    with transaction.atomic():
        assert attach() == lost
        other = start_elsewhere(attach)
        assert not other.done()
    assert other.result() is None


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_ended_without_an_image_is_no_reply_to_a_retry(status: Status) -> None:
    lost = _lost(status)
    assert lost_clients.attach(account_id=lost.account_id, digests=[DIGEST]) is None


def test_what_fails_after_its_client_was_lost_is_no_reply_either() -> None:
    lost = _lost(Status.RUNNING)
    generation = Generation.objects.get(pk=lost.pk)
    generations.fail(generation=generation, **factories.ERROR)
    assert lost_clients.attach(account_id=lost.account_id, digests=[DIGEST]) is None


def test_another_request_and_another_account_find_nothing() -> None:
    lost = _lost()
    other = idempotency.digest_of(request=["another key", *REQUEST[1:]], secret_key=settings.SECRET_KEY)
    assert lost_clients.attach(account_id=lost.account_id, digests=[other]) is None
    assert lost_clients.attach(account_id=factories.account().pk, digests=[DIGEST]) is None


def test_a_client_that_was_not_lost_is_never_found() -> None:
    generation = factories.generation_in(Status.QUEUED, factories.account())
    assert lost_clients.attach(account_id=generation.account_id, digests=[DIGEST]) is None
    assert lost_clients.attach(account_id=generation.account_id, digests=[""]) is None


def test_a_loss_is_forgotten_after_ten_minutes() -> None:
    generation = factories.generation_in(Status.QUEUED, factories.account())
    lost_clients.note(
        generation_id=generation.pk,
        digest=DIGEST,
        now=datetime.now(UTC) - lost_clients.MAX_AGE - timedelta(seconds=1),
    )
    assert lost_clients.attach(account_id=generation.account_id, digests=[DIGEST]) is None


def test_of_many_retries_at_once_each_lost_generation_answers_one() -> None:
    owner = factories.account()
    lost = [factories.submit(owner) for _ in range(2)]
    for generation in lost:
        lost_clients.note(generation_id=generation.pk, digest=DIGEST)
    found = factories.at_once(16, lambda _: lost_clients.attach(account_id=owner.pk, digests=[DIGEST]))
    assert sorted(each.pk for each in found if each is not None) == sorted(each.pk for each in lost)
    assert found.count(None) == 14


@pytest.mark.parametrize("fails_first", [True, False], ids=["before the loss", "after the loss"])
@pytest.mark.parametrize("other", [Status.QUEUED, Status.COMPLETED])
def test_a_group_whose_first_failed_is_found_while_another_lives(other: Status, *, fails_first: bool) -> None:
    owner = factories.account()
    first, second = factories.submit_all(owner, parameters=[{"width": 512, "height": 512, "seed": 1}] * 2)
    steps = [partial(_fail, first), partial(lost_clients.note, generation_id=first.pk, digest=DIGEST)]
    for step in steps if fails_first else reversed(steps):
        step()
    if other == Status.COMPLETED:
        factories.finish(factories.claim(generation_id=second.pk, now=factories.NOW))
    assert lost_clients.attach(account_id=owner.pk, digests=[DIGEST]) == first
    assert lost_clients.attach(account_id=owner.pk, digests=[DIGEST]) is None


@pytest.mark.parametrize("fails_first", [True, False], ids=["before the loss", "after the loss"])
def test_a_group_that_failed_as_a_whole_is_no_reply_to_a_retry(*, fails_first: bool) -> None:
    owner = factories.account()
    group = factories.submit_all(owner, parameters=[{"width": 512, "height": 512, "seed": 1}] * 2)
    steps = [
        *(partial(_fail, each) for each in group),
        partial(lost_clients.note, generation_id=group[0].pk, digest=DIGEST),
    ]
    for step in steps if fails_first else reversed(steps):
        step()
    assert lost_clients.attach(account_id=owner.pk, digests=[DIGEST]) is None


def _fail(generation: Generation) -> None:
    running = factories.claim(generation_id=generation.pk, now=factories.NOW)
    generations.fail(generation=running, **factories.ERROR)
