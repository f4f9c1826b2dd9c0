"""A store that does not answer, or only for a moment: whoever asks it ends in time, and nothing is lost by it."""

import signal
from datetime import timedelta
from typing import Any, cast

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone
from pytest_django import Settings

from storage import images, orphans
from storage.models import StoredImage
from storage.s3_store import MAX_ATTEMPT_COUNT, ObjectStoreFailed, S3Store
from tests import factories
from tests.storage import s3
from tests.storage.conftest import bytes_of, names
from tests.storage.faults import hanging
from tests.storage.s3 import OBJECT, refusals, requests

pytestmark = pytest.mark.processes


@pytest.fixture
def store(own_server: s3.Server) -> S3Store:
    """Return a store on a server that a test may stop."""
    return cast(S3Store, storages["objects"])


def test_a_store_that_does_not_answer_is_asked_three_times_and_then_given_up(
    store: S3Store, own_server: s3.Server, settings: Settings
) -> None:
    with hanging(own_server, settings) as impatient, requests(impatient) as made:
        said = refusals(impatient)
    assert len(made) == MAX_ATTEMPT_COUNT * len(said)
    assert set(said.values()) == {"ReadTimeoutError"}
    # It goes on, and with what nobody waits for any more as well.
    other = store.save(OBJECT.replace("ab", "cd"), ContentFile(b"x"))
    assert bytes_of(store, other) == b"x"


def test_a_store_that_stood_still_for_a_moment_is_asked_again(
    store: S3Store, own_server: s3.Server, settings: Settings
) -> None:
    store.save(OBJECT, ContentFile(b"before"))
    made: list[str] = []

    def go_on_at_the_second(request: Any, **_: object) -> None:
        made.append(request.method)
        if len(made) == 2:
            own_server.process.send_signal(signal.SIGCONT)

    with hanging(own_server, settings) as impatient:
        impatient.connection.meta.client.meta.events.register("before-send.s3", go_on_at_the_second)
        impatient.save(OBJECT, ContentFile(b"after"))
    assert set(made) == {"PUT"}
    assert bytes_of(store, OBJECT) == b"after"


def test_a_store_that_nobody_serves_is_a_failure(store: S3Store, own_server: s3.Server) -> None:
    own_server.process.kill()
    own_server.process.wait()
    assert set(refusals(store).values()) == {"EndpointConnectionError"}


def test_an_answer_that_breaks_off_is_a_failure_and_no_shorter_object(
    store: S3Store, own_server: s3.Server
) -> None:
    store.save(OBJECT, ContentFile(bytes(30_000_000)))
    with store.open(OBJECT) as file:
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(ObjectStoreFailed):
            file.read(40_000_000)


@pytest.mark.django_db(transaction=True)
def test_a_purge_destroys_all_keys_although_the_store_hangs_and_ends_in_time(
    store: S3Store,
    own_server: s3.Server,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        factories.record(factories.sealed())
    later = factories.NOW + timedelta(hours=25)
    with monkeypatch.context() as patched, hanging(own_server, settings):
        patched.setattr(images, "MAX_PURGE_SECONDS", 0.1)
        assert images.purge(now=later) == 0
    assert StoredImage.objects.filter(wrapped_key=None).count() == 5
    assert images.purge(now=later) == 5
    assert names(store) == []


@pytest.mark.django_db(transaction=True)
def test_a_pass_over_orphans_fails_when_the_store_hangs_and_the_next_one_works(
    store: S3Store, own_server: s3.Server, settings: Settings
) -> None:
    factories.sealed()
    later = timezone.now() + timedelta(hours=1)
    with hanging(own_server, settings), pytest.raises(ObjectStoreFailed):
        orphans.remove(now=later)
    assert orphans.remove(now=later) == 1
    assert names(store) == []
