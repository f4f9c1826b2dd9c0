"""Deletion by the owner: what is gone at once, and what stays."""

from datetime import timedelta
from typing import Any

import pytest

from billing import audit
from storage import images
from storage.models import StoredImage
from tests import factories
from tests.factories import NOW
from workers.audit import rows
from workers.lifecycle import deletion, idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
LATER = NOW + timedelta(hours=1)
NAMED = Idempotency.of(key="my-order-7", request=["a boat"])


def _assert_image_is_gone(generation: Generation) -> None:
    image = StoredImage.objects.get(pk=generation.image_id)
    assert (image.wrapped_key, image.key_destroyed_at, image.expires_at) == (None, LATER, LATER)
    with pytest.raises(images.ImageGone):
        images.load(image=image)


def _completed(**changes: Any) -> Generation:
    queued = factories.submit(factories.account(), **changes)
    return factories.finish(factories.claim(generation_id=queued.pk, now=NOW))


def test_a_deleted_generation_keeps_its_money_and_loses_image_prompt_and_seed() -> None:
    done = _completed()
    deletion.delete_generation(generation_id=done.pk, now=LATER)
    after = Generation.objects.get(pk=done.pk)
    _assert_image_is_gone(after)
    assert (after.prompt, after.parameters) == ("", {"width": 512, "height": 512})
    assert (after.status, after.cost_micros, after.expires_at) == (Status.COMPLETED, done.cost_micros, LATER)
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_a_deleted_image_leaves_the_prompt() -> None:
    done = _completed()
    deletion.delete_image(generation_id=done.pk, now=LATER)
    after = Generation.objects.get(pk=done.pk)
    _assert_image_is_gone(after)
    assert (after.prompt, after.parameters) == (done.prompt, done.parameters)
    assert list(rows.find_disagreements()) == []


def test_a_second_deletion_changes_nothing() -> None:
    done = _completed()
    for delay in (0, 1):
        deletion.delete_generation(generation_id=done.pk, now=LATER + timedelta(hours=delay))
    _assert_image_is_gone(Generation.objects.get(pk=done.pk))


def test_an_image_that_had_expired_keeps_its_time() -> None:
    done = _completed()
    assert done.expires_at is not None
    deletion.delete_image(generation_id=done.pk, now=done.expires_at + timedelta(hours=1))
    assert Generation.objects.get(pk=done.pk).expires_at == done.expires_at


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_an_open_generation_is_not_deleted(status: Status) -> None:
    generation = factories.generation_in(status, factories.account())
    with pytest.raises(deletion.StillOpen):
        deletion.delete_generation(generation_id=generation.pk, now=LATER)
    assert Generation.objects.get(pk=generation.pk).prompt == "a boat"


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_ended_without_an_image_loses_its_prompt(status: Status) -> None:
    generation = factories.generation_in(status, factories.account())
    deletion.delete_generation(generation_id=generation.pk, now=LATER)
    assert Generation.objects.get(pk=generation.pk).prompt == ""


def test_the_key_of_a_deleted_generation_still_leads_to_it_for_a_day() -> None:
    done = _completed(idempotency=NAMED)
    deletion.delete_generation(generation_id=done.pk, now=LATER)
    last = NOW + timedelta(hours=24) - timedelta(microseconds=1)
    assert idempotency.forget(limit=10, now=last) == 0
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(done.account, idempotency=NAMED, now=last)
    assert replayed.value.generation == done
