"""A store that has not what it was given: its reader gets a 500, and never another's image."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.storage import Storage
from pytest_django import Settings

from tests import factories
from tests.storage import s3
from tests.storage.conftest import bytes_of, overwrite
from tests.storage.faults import hanging
from tests.zekron_api.callers import Caller, caller
from workers.gpu_worker import attempt
from workers.lifecycle import image_tokens
from workers.messaging.redis_client import connection as broker
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_rates() -> None:
    """Rates start anew for each test."""
    broker().flushdb()


def completed(who: Caller) -> Generation:
    """Make a generation of this caller with its image in the store."""
    queued = factories.submit(who.account, now=None)
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    return Generation.objects.select_related("image").get(pk=queued.pk)


def deleted(store: Storage, mine: str, _theirs: str) -> None:
    store.delete(mine)


def emptied(store: Storage, mine: str, _theirs: str) -> None:
    overwrite(store, mine, b"")


def truncated(store: Storage, mine: str, _theirs: str) -> None:
    overwrite(store, mine, bytes_of(store, mine)[:-100])


def corrupted(store: Storage, mine: str, _theirs: str) -> None:
    content = bytearray(bytes_of(store, mine))
    content[len(content) // 2] ^= 1
    overwrite(store, mine, bytes(content))


def swapped(store: Storage, mine: str, theirs: str) -> None:
    overwrite(store, mine, bytes_of(store, theirs))


@pytest.mark.parametrize("damage", [deleted, emptied, truncated, corrupted, swapped])
def test_an_object_that_is_not_what_was_stored_is_a_500_and_never_anothers_image(
    objects: Storage, damage: Callable[[Storage, str, str], None]
) -> None:
    me, other = caller(), caller()
    mine, theirs = completed(me), completed(other)
    key = mine.image.object_key
    whole = bytes_of(objects, key)
    assert fetch(me, mine)["Content-Type"] == "image/png"
    damage(objects, key, theirs.image.object_key)
    refused = fetch(me, mine)
    assert (refused.status_code, refused.json()["error"]["type"]) == (500, "internal_error")
    assert fetch(other, theirs).status_code == 200
    overwrite(objects, key, whole)
    assert fetch(me, mine).status_code == 200


def fetch(who: Caller, generation: Generation) -> Any:
    return who.get(f"/v1/images/{image_tokens.token_of(generation_id=generation.pk)}")


@pytest.mark.processes
def test_a_store_that_hangs_is_a_500_and_the_image_is_there_afterwards(
    own_server: s3.Server, settings: Settings
) -> None:
    me = caller()
    mine = completed(me)
    with hanging(own_server, settings):
        refused = fetch(me, mine)
    assert (refused.status_code, refused.json()["error"]["type"]) == (500, "internal_error")
    assert fetch(me, mine).status_code == 200
